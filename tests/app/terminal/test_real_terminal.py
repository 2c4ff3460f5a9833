"""The app with its real driver in a pseudo-terminal: bytes, sizes, errors, kinds of terminals."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ...pseudo_terminal import Terminal, app_command, environment
from ..conftest import some_runs

Start = Callable[..., Terminal]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a program, by default the app on some runs; ends what was started."""
    some_runs(root)
    started: list[Terminal] = []

    def make(
        command: list[str] | None = None, size: tuple[int, int] = (100, 30), **variables: str
    ) -> Terminal:
        command = command or app_command(root, tmp_path / "data")
        started.append(Terminal(command, environment(**variables), size))
        return started[-1]

    yield make
    for terminal in started:
        terminal.close()


def shows_runs(text: str) -> bool:
    return "large queue" in text


def test_unreadable_bytes_do_nothing_and_keys_act_after_them(start: Start) -> None:
    """Whatever comes, but for letters, which are keys: a person may have meant those."""
    chance = random.Random(18)
    app = start()
    app.until(shows_runs)
    pieces = [bytes([b]) for b in range(128, 256)]
    pieces += [b"\x1b[", b"\x1b[M \xa0\x30", b"\x1b[<", b"0", b"9", b";", b":", b"\x1b]", b"\x00"]
    for _ in range(100):
        app.send(b"".join(chance.choices(pieces, k=40)))
    app.send(b"\xe9")
    # the first ends a sequence that may have begun; help is shown by the second or by both
    app.keys("\x1b[201~", "\x1b", "?")
    app.until(lambda text: "Every run of the runs folder" in text)
    app.keys("\x1b")
    app.until(shows_runs)
    app.keys("q")
    assert app.wait() == 0


@pytest.mark.parametrize("after", [0, 20, 30, 40, 60, 90, 120, 200])
def test_a_resize_while_it_starts(start: Start, after: int) -> None:
    app = start(TEXTUAL_ANIMATIONS="none")
    app.until(lambda _: app.alternate)
    app.spend(after / 1000)
    app.resize(120, 40)
    text = app.until(lambda text: shows_runs(text) and "Help" in text.splitlines()[39])
    assert text.splitlines()[0].startswith(" Runs"), text
    app.keys("q")
    assert app.wait() == 0


def test_the_size_is_the_terminals_whatever_the_shell_exports(start: Start) -> None:
    app = start(COLUMNS="60", LINES="20")
    app.until(lambda text: shows_runs(text) and "Help" in text.splitlines()[29])
    app.resize(120, 40)
    app.until(lambda text: "Help" in text.splitlines()[39])
    app.keys("q")
    assert app.wait() == 0


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_show_it_gets_a_sentence(start: Start, term: str) -> None:
    app = start(TERM=term)
    assert app.wait() == 2
    words = " ".join(app.text.split())
    assert words.startswith("moco-tui: The app needs a terminal that can place its cursor"), words
    assert (f"TERM is {term};" if term else "TERM is not set") in words
    assert not app.alternate


def test_an_unknown_kind_of_pictures_is_a_sentence(start: Start) -> None:
    app = start(MOCO_TUI_PICTURES="iterm")
    assert app.wait() == 2
    words = " ".join(app.text.split())
    assert words.startswith("moco-tui: MOCO_TUI_PICTURES is 'iterm'; it can be auto, kitty"), words
    assert not app.alternate


def test_a_terminal_that_the_database_does_not_know_is_tried(start: Start) -> None:
    app = start(TERM="xterm-of-next-year")
    app.until(shows_runs)
    app.keys("q")
    assert app.wait() == 0


FAILS = """
import sys
from pathlib import Path
from moco_tui import app, app_life

def fail(self):
    if self.session.runs.loaded:
        raise ZeroDivisionError("an error in the screens")

assert hasattr(app.MocoApp, "_poll_runner")
app.MocoApp._poll_runner = fail
sys.exit(app_life.run(Path(sys.argv[1]), data_dir=Path(sys.argv[2])))
"""


def test_an_error_of_the_app_is_a_sentence_and_a_file(
    start: Start, root: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", FAILS, str(root), str(tmp_path / "data")]
    app = start(command, size=(200, 30), TMPDIR=str(tmp_path))
    assert app.wait() == 1
    assert "Traceback" not in app.text
    (report,) = tmp_path.glob("moco-tui-error-*.txt")
    ended = "moco-tui: An error of the app has ended it (ZeroDivisionError)"
    assert f"{ended}; its details are in {report}." in app.text
    details = report.read_text(encoding="utf-8")
    assert "an error in the screens" in details
    assert "in fail" in details
    assert report.stat().st_mode & 0o077 == 0, "values of variables are for their owner alone"
