"""Keys that come in one burst, as a slow connection delivers them, act as they were typed.

Each test writes all bytes at once into a real pseudo-terminal, and reads what became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ...pseudo_terminal import Terminal, app_command, environment

UP, DOWN, RIGHT, LEFT = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D"
TAB, BACK_TAB, ENTER, ESCAPE, ERASE = b"\t", b"\x1b[Z", b"\r", b"\x1b", b"\x15"
F2, F4, F9 = b"\x1bOQ", b"\x1bOS", b"\x1b[20~"


@pytest.fixture
def app(root: Path, tmp_path: Path) -> Iterator[Terminal]:
    """The app in a terminal, with its first screen."""
    root.mkdir()
    (tmp_path / "pictures" / "cats").mkdir(parents=True)
    started = Terminal(app_command(root, tmp_path / "data"), environment(), (100, 40))
    started.until(lambda text: "New" in text.splitlines()[-1])
    yield started
    started.close()


def row(text: str, label: str) -> str:
    """The line of a setting."""
    return next((line for line in text.splitlines() if line[:22].strip("│ •✗") == label), "")


def shows(label: str, value: str) -> Callable[[str], bool]:
    return lambda text: value in row(text, label)


def test_fields_are_filled_one_after_the_other(app: Terminal) -> None:
    """From the list of runs on: the form is opened, and what is typed waits for its fields."""
    typed = [b"n", ERASE, b"777", DOWN, ERASE, b"12", TAB, ERASE, b"64", UP, UP, b"1"]
    app.send(b"".join(typed))
    text = app.until(shows("queue size", "7771"))
    assert "12 " in row(text, "epochs")
    assert "64 " in row(text, "batch size")


def test_choices_switches_and_sections(app: Terminal) -> None:
    app.send(b"n" + UP + b"shapes" + DOWN + DOWN + DOWN + DOWN + RIGHT + DOWN + b" ")
    text = app.until(shows("run detached", "[x] on"))
    assert "‹ shapes ›" in row(text, "data")
    assert "‹ cpu ›" in row(text, "device")
    app.send(UP * 3 + BACK_TAB * 2 + LEFT + TAB + ERASE + b"8")
    app.until(shows("queue size", "8 "))


def test_another_kind_of_run_takes_what_is_typed_behind_it(app: Terminal) -> None:
    app.send(b"n" + UP * 4 + RIGHT * 2 + DOWN * 2 + b"mine" + DOWN + ENTER)
    app.until(lambda text: "Which setting does the study vary?" in text)
    app.send(b"momentum" + ENTER + b", 0.9" + UP + b"!")
    text = app.until(shows("name", "mine!"))
    assert ", 0.9" in text
    app.send(DOWN + F9 + ENTER + b"temperature" + ENTER + b", 0.5" + F4)
    app.until(lambda text: "temperature" in text and "0.5" in text and "momentum" not in text)


def test_the_path_of_a_folder(app: Terminal, tmp_path: Path) -> None:
    app.send(b"n" + UP + b"folder" + DOWN + f"{tmp_path}/pic".encode() + TAB + b"ca" + TAB + DOWN)
    app.until(shows("path", "pictures/cats/"))
    app.send(ERASE + b"5" + F2 + ESCAPE)
    app.until(shows("queue size", "5 "))


def test_leaving_and_staying(app: Terminal) -> None:
    app.send(b"n" + ERASE + b"5" + ESCAPE)
    app.until(lambda text: "Leave the form?" in text)
    app.send(b"k7" + ESCAPE)
    app.until(lambda text: "Leave the form?" in text and "57 " in row(text, "queue size"))
    app.send(b"ln" + ERASE + b"6")
    app.until(shows("queue size", "6 "))
