"""Which terminals are asked for pictures, and what their answers mean."""

from __future__ import annotations

import sys

import pytest

from engine.errors import UserError
from moco_tui.terminal.picture_protocol import (
    PictureAnswers,
    PicturesAnswered,
    chosen_pictures,
    may_ask,
)

from ...picture_terminal import KITTY, PLAIN, SIXEL


@pytest.mark.parametrize("said", ["auto", "kitty", "sixel", "blocks", "letters"])
def test_what_is_said_counts(said: str) -> None:
    pytest.importorskip("textual_image")
    assert chosen_pictures({"MOCO_TUI_PICTURES": f" {said.upper()} "}) == said


def test_nothing_said_is_auto() -> None:
    assert chosen_pictures({}) == chosen_pictures({"MOCO_TUI_PICTURES": ""}) == "auto"


def test_another_word_is_refused_with_those_that_would_do() -> None:
    with pytest.raises(UserError, match=r"'iterm'; it can be auto, kitty, sixel, blocks or letter"):
        chosen_pictures({"MOCO_TUI_PICTURES": "iterm"})


def test_what_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "textual_image", raising=False)
    with pytest.raises(UserError, match=r"pip install 'moco-tui\[pictures\]'"):
        chosen_pictures({"MOCO_TUI_PICTURES": "sixel"})
    assert chosen_pictures({"MOCO_TUI_PICTURES": "blocks"}) == "blocks"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, True),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/tmux-0/default,1,0"}, False),
        ({"TERM": "tmux-256color"}, False),  # over SSH, which takes TERM along but not TMUX
        ({"TERM": "screen.xterm-256color"}, False),
        ({"TERM": "xterm", "STY": "1.pts-0"}, False),
        ({"TERM": "xterm", "ZELLIJ": "0"}, False),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, True),
    ],
)
def test_which_terminals_are_asked(environ: dict[str, str], wanted: bool) -> None:
    assert may_ask(environ) is wanted


def answer_of(pieces: list[bytes]) -> PicturesAnswered | None:
    answers = PictureAnswers()
    answers.waiting = True
    found = [answered for piece in pieces if (answered := answers.hear(piece))]
    assert len(found) <= 1, "it says so once"
    assert answers.waiting is not bool(found)
    return found[0] if found else None


WEZTERM = {
    **KITTY,
    b"\x1b[>0q": b"\x1bP>|WezTerm 20240203\x1b\\",
    b"\x1b[c": b"\x1b[?65;4;6;18;22c",
}
OLD = {**KITTY, b"\x1b[>0q": b"\x1bP>|kitty(0.26.5)\x1b\\"}
FIRST = {**KITTY, b"\x1b[>0q": b"\x1bP>|kitty(0.28.0)\x1b\\"}
UNKNOWN = {**KITTY, b"\x1b[>0q": b"\x1bP>|Warp(v1)\x1b\\"}
GHOSTTY = {**KITTY, b"\x1b[>0q": b"\x1bP>|ghostty 1.2.0\x1b\\", b"\x1b[16t": b""}
FORTY = {b"\x1b[c": b"\x1b[?4;40;44c"}  # the 4 in front is the level of the terminal


@pytest.mark.parametrize(
    ("answers", "protocol", "cell"),
    [
        (KITTY, "kitty", (9, 18)),
        (SIXEL, "sixel", (10, 20)),
        (WEZTERM, "sixel", (9, 18)),
        (UNKNOWN, "blocks", (9, 18)),
        (OLD, "blocks", (9, 18)),
        (FIRST, "kitty", (9, 18)),
        (GHOSTTY, "kitty", (0, 0)),
        (PLAIN, "blocks", (0, 0)),
        (FORTY, "blocks", (0, 0)),
    ],
    ids=["kitty", "foot", "wezterm", "unknown", "old", "first", "ghostty", "vt100", "forty"],
)
def test_what_an_answer_means(
    answers: dict[bytes, bytes], protocol: str, cell: tuple[int, int]
) -> None:
    whole = b"j" + b"k".join(answers.values()) + b"l"  # with keys between
    for pieces in ([whole], [bytes([byte]) for byte in whole]):
        found = answer_of(pieces)
        assert found is not None
        assert (found.protocol, found.cell) == (protocol, cell)


def test_without_a_question_nothing_is_an_answer() -> None:
    assert PictureAnswers().hear(b"".join(SIXEL.values())) is None


def test_keys_are_no_answer() -> None:
    assert answer_of([b"\x1b[A", b"c", b"\x1b[?", b"q" * 9000]) is None
