"""The pictures of a look on terminals of several kinds, byte for byte."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ...picture_terminal import (
    KITTY,
    SILENT,
    SIXEL,
    PictureTerminal,
    kitty_deleted,
    kitty_pictures,
    nearest,
    sixels,
)
from ...pseudo_terminal import environment
from .. import looks

pytest.importorskip("textual_image")

Start = Callable[..., PictureTerminal]
ASKED = b"\x1b_Gi=31"
DRAWN = re.compile(rb"\x1b_Ga=T|\x1bP[\d;]*q")
MARK = "\U0010eeee"

LOOKS = """
import sys
from pathlib import Path
from engine.runs.encoder_look import LookRequest
from moco_tui.app_life import run
from moco_tui.screens import look_screen
from moco_tui.screens.messages import OpenLook
from tests.app.looks import some_look

class Done:
    def __init__(self, *_): pass
    def look(self, *_): return some_look()
    def cancel(self): pass

def fail(_):
    raise ZeroDivisionError("an error in the screen")

look_screen.LookProcess = Done
look_screen.LookScreen.action_untrained = fail
request = LookRequest(encoders=(("k7m2qx", ""),))
sys.exit(run(Path(sys.argv[1]), data_dir=Path(sys.argv[1]), opens=OpenLook(request)))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the app on a look whose pictures are known."""
    started: list[PictureTerminal] = []

    def make(answers: dict[bytes, bytes], **variables: str) -> PictureTerminal:
        command = [sys.executable, "-c", LOOKS, str(tmp_path)]
        variables = {"LANG": "C.UTF-8", "NO_COLOR": "", "TMUX": "", "STY": ""} | variables
        made = PictureTerminal(command, environment(**variables), (160, 45), answers=answers)
        started.append(made)
        made.until(lambda text: "2 image 100" in text and "Untrained" in text)
        return made

    yield make
    for terminal in started:
        terminal.close()


def until(app: PictureTerminal, condition: Callable[[], object]) -> None:
    app.until(lambda _: condition())


def cells(app: PictureTerminal, sign: str) -> set[tuple[int, int]]:
    """Rows and columns in which a character stands."""
    return {
        (y, x)
        for y in range(app.screen.lines)
        for x in range(app.screen.columns)
        if app.screen.buffer[y][x].data[:1] == sign
    }


def test_kitty_gets_pictures_over_the_same_cells(start: Start) -> None:
    app = start(KITTY)
    until(app, lambda: cells(app, MARK) and not cells(app, "▀"))
    # the image and its neighbours, each 16 columns and 8 rows
    shown = cells(app, MARK)
    left = min(x for _, x in shown)
    assert {(2 + y, left + x) for y in range(8) for x in range(16)} <= shown
    assert len(shown) % (16 * 8) == 0
    found = kitty_pictures(app.raw)
    number = next(iter(found))
    colour = app.screen.buffer[2][left].fg
    assert colour == f"{number:06x}"
    wanted = nearest(looks.picture(0), looks.SIZE, 16 * 9, 8 * 18)
    assert (found[number] == wanted).all()
    assert app.raw.count(ASKED) == 1

    # a dialog is in front: nothing is drawn into it; then they are there again, sent only once
    app.keys("@")
    app.until(lambda text: "▀" in text and MARK not in text)
    app.keys("\x1b")
    until(app, lambda: cells(app, MARK) == shown)
    assert len(re.findall(rb"\x1b_Ga=T", app.raw)) == len(found)

    # another size, another layout
    app.resize(120, 40)
    until(app, lambda: cells(app, MARK) not in (set(), shown) and not cells(app, "▀"))

    # the screen is closed: no cell and no data stays behind
    app.keys("\x1b")
    until(
        app, lambda: not cells(app, MARK) and kitty_deleted(app.raw) == set(kitty_pictures(app.raw))
    )
    app.keys("q")
    assert app.wait() == 0


@pytest.mark.parametrize(("way", "code"), [("key", 0), ("signal", 143), ("error", 1)])
def test_the_end_takes_the_pictures_along(
    start: Start, tmp_path: Path, way: str, code: int
) -> None:
    app = start(KITTY, TMPDIR=str(tmp_path))
    until(app, lambda: cells(app, MARK) and not cells(app, "▀"))
    if way == "signal":
        os.kill(app.pid, signal.SIGTERM)
    else:
        app.keys("q" if way == "key" else "Z")
    assert app.wait() in (code, -code)
    last = app.raw.rindex(b"\x1b_Ga=d")
    assert kitty_deleted(app.raw) == set(kitty_pictures(app.raw))
    assert app.raw.rindex(b"\x1b[?1049l") > last, "they lie on the screen of the app"
    assert app.modes() == app.modes_before


def test_a_terminal_with_sixel_gets_pictures_over_the_same_cells(start: Start) -> None:
    app = start(SIXEL)

    def covered() -> set[tuple[int, int]]:
        found = [(y, x) for y, x, _ in sixels(app.raw)]
        return {(y + b, x + a) for y, x in found for b in range(8) for a in range(16)}

    until(app, lambda: covered() == cells(app, "▀") != set())
    left = min(x for _, x in covered())
    found = {(row, column): pixels for row, column, pixels in sixels(app.raw)}
    pixels = found[2, left]
    wanted = nearest(looks.picture(0), looks.SIZE, 16 * 10, 8 * 20)
    assert np.abs(pixels.astype(int) - wanted).max() <= 2
    # the cursor moves on: the pictures stay, and are not sent again
    app.keys("2")
    app.until(lambda text: "▸ 2 image 100" in text)
    app.rest()
    drawn = len(sixels(app.raw))
    app.keys("\x1b[C", "\x1b[C")
    app.rest()
    assert len(sixels(app.raw)) == drawn
    app.keys("j")  # another image is another picture
    until(app, lambda: len(sixels(app.raw)) > drawn)
    app.keys("q")
    assert app.wait() == 0


def test_a_terminal_that_says_nothing_is_not_waited_for(start: Start) -> None:
    app = start(SILENT)
    until(app, lambda: app.raw.count(ASKED) == 1)
    app.keys("!")  # acts, while nothing is answered
    app.until(lambda text: "2 image 100" not in text)
    assert "▀" in app.text
    assert not DRAWN.search(app.raw)
    app.keys("q")
    assert app.wait() == 0
    assert not DRAWN.search(app.raw)


@pytest.mark.parametrize(
    ("variables", "sign"),
    [
        ({"NO_COLOR": "1"}, "▀"),
        ({"TMUX": "/tmp/tmux-0/default,1,0"}, "▀"),
        ({"MOCO_TUI_PICTURES": "blocks"}, "▀"),
        ({"MOCO_TUI_PICTURES": "letters"}, "="),
        ({"LANG": "C", "LC_ALL": "C"}, "="),
    ],
    ids=["no-color", "tmux", "blocks", "letters", "ascii"],
)
def test_others_are_not_asked(start: Start, variables: dict[str, str], sign: str) -> None:
    app = start(SIXEL, **variables)
    app.until(lambda text: sign in text)
    app.keys("q")
    assert app.wait() == 0
    assert ASKED not in app.raw
    assert b"\x1b[c" not in app.raw
    assert not DRAWN.search(app.raw)
