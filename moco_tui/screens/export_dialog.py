"""Ask for a path and write what a screen shows to a new file there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.dialogs import Ask


def ask_and_write(
    screen: BaseScreen, question: str, name: str, makers: Mapping[str, Callable[[], str]]
) -> None:
    """Ask for a path and write to it; a file that is there already stays as it is.

    Args:
        screen: asks, and reports the result.
        question: what stands above the path.
        name: the path that is offered.
        makers: by the suffix of the file name, such as ``.csv``, what makes the text. At least
            two; a message lists the suffixes in this order.
    """

    def write(text: str | None) -> None:
        if not text or not text.strip():
            return
        path = Path(text.strip()).expanduser().absolute()
        if path.suffix not in makers:
            *first, last = makers
            ends = f"{', '.join(first)} or {last}"
            screen.say(f"{path.name}: the name must end in {ends}.", severity="error")
            return
        data = makers[path.suffix]()
        try:
            # "x" refuses a file that is there; newline="" leaves the line ends as they were made
            with path.open("x", encoding="utf-8", newline="") as file:
                file.write(data)
        except FileExistsError:
            screen.say(f"{path} is already there; choose another name.", severity="error")
        except OSError as error:
            screen.say(f"{path} cannot be written: {error.strerror}.", severity="error")
        else:
            screen.say(f"Written to {path}.")

    screen.app.push_screen(Ask(question, name), write)
