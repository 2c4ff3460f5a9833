"""Which pictures a terminal holds, and when it is told to forget them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from moco_tui.terminal import picture_store
from moco_tui.terminal.picture_store import PictureSpot, PictureStore

from ...picture_terminal import kitty_deleted, kitty_pictures
from ...pseudo_terminal import open_terminal

pytest.importorskip("textual_image")

CELL = (10, 20)
Make = Callable[..., PictureStore]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    for name in ("TMUX", "STY", "ZELLIJ", "NO_COLOR", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)

    def made(said: str = "auto", *, ascii_only: bool = False, **environ: str) -> PictureStore:
        for name, value in {"TERM": "xterm", "MOCO_TUI_PICTURES": said, **environ}.items():
            monkeypatch.setenv(name, value)
        return PictureStore(ascii_only=ascii_only)

    return made


def spot(number: int) -> PictureSpot:
    return PictureSpot(0, 0, 4, 2, bytes([number] * 3 * 4), 2)


@pytest.mark.parametrize(
    ("said", "ascii_only", "protocol", "letters"),
    [
        ("auto", False, "", False),
        ("auto", True, "blocks", True),
        ("kitty", False, "kitty", False),
        ("kitty", True, "blocks", True),  # its placeholders are characters beyond ASCII
        ("sixel", False, "sixel", False),
        ("sixel", True, "sixel", True),
        ("blocks", False, "blocks", False),
        ("blocks", True, "blocks", True),
        ("letters", False, "blocks", True),
    ],
)
def test_how_pictures_are_drawn(
    make: Make, said: str, ascii_only: bool, protocol: str, letters: bool
) -> None:
    store = make(said, ascii_only=ascii_only)
    assert (store.protocol, store.letters) == (protocol, letters)


def test_a_terminal_that_is_not_asked_gets_blocks(make: Make) -> None:
    assert make(TMUX="/tmp/x,1,0").protocol == "blocks"
    assert make("kitty", TMUX="/tmp/x,1,0").protocol == "kitty"  # a person has said so


def test_an_answer_changes_nothing_that_was_said(make: Make) -> None:
    store = make("kitty")
    store.learn("sixel", CELL)
    assert store.protocol == "kitty"
    store = make()
    store.learn("sixel", CELL)
    assert store.protocol == "sixel"


def test_a_picture_is_sent_once(make: Make) -> None:
    store = make("kitty")
    assert len(kitty_pictures(store.draw(spot(1), 0, 0, CELL).encode())) == 1
    again = store.draw(spot(1), 5, 7, CELL)
    assert not kitty_pictures(again.encode())
    assert "\x1b[8;6H" in again
    assert "\x1b[9;6H" in again
    assert kitty_pictures(store.draw(spot(1), 0, 0, (9, 18)).encode()), "the font has changed"


def test_the_terminal_forgets_what_was_not_in_sight_for_longest(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_store, "_MOST_HELD", 3)
    store = make("kitty")
    numbers: list[int] = []
    for n in range(3):
        numbers += kitty_pictures(store.draw(spot(n), 0, 0, CELL).encode())
    assert len(set(numbers)) == 3
    store.keep(spot(0), CELL)
    text = store.draw(spot(9), 0, 0, CELL).encode()
    assert kitty_deleted(text) == set(kitty_pictures(text)) == {numbers[1]}
    assert kitty_deleted(store.farewell().encode()) == set(numbers)
    assert kitty_deleted(store.farewell().encode()) == set()


def test_an_end_without_pictures_writes_nothing(make: Make) -> None:
    assert make("kitty").farewell() == ""
    assert make("blocks").farewell() == ""


def test_all_are_forgotten_in_fewer_bytes_than_a_terminal_takes_at_once(make: Make) -> None:
    store = make("kitty")
    for n in range(250):
        store.draw(spot(n), 0, 0, CELL)
    assert len(store.farewell()) < 4096


def test_sixel_needs_the_size_of_a_cell(make: Make) -> None:
    store = make("sixel")
    assert store.draw(spot(1), 0, 0, (0, 0)) == ""
    assert "\x1bP" in store.draw(spot(1), 0, 0, CELL)


def test_the_size_of_a_cell_is_the_terminals_or_what_it_said(make: Make) -> None:
    import fcntl
    import struct
    import termios

    store = make()
    store.learn("sixel", (7, 14))
    master, slave = open_terminal((80, 24))
    try:
        assert store.cell(slave) == (7, 14)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 80 * 9 + 5, 24 * 18))
        assert store.cell(slave) == (9, 18)
        assert store.cell(os.open(os.devnull, os.O_RDONLY)) == (7, 14)
    finally:
        os.close(master)
        os.close(slave)
