"""Ask for a path and write what a screen shows to a new file there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from engine.errors import UserError
from engine.files import open_new, reason, write_all
from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.dialogs import Ask
from moco_tui.widgets.background_work import work_behind


def ask_and_write(
    screen: BaseScreen, question: str, name: str, makers: Mapping[str, Callable[[], str]]
) -> None:
    """Ask for a path and write to it; a file that is there already stays as it is.

    Args:
        screen: asks, and reports the result.
        question: what stands above the path.
        name: the path that is offered.
        makers: by the suffix of the file name, such as ``.csv``, what makes the text, in a thread.
            At least two; a message lists the suffixes in this order.
    """

    def write(text: str | None) -> None:
        if not text or not text.strip():
            return
        try:
            path = Path(text.strip()).expanduser().absolute()
        except RuntimeError:  # ~name of a user that does not exist
            screen.say(f"{text.strip()}: there is no such home folder.", severity="error")
            return
        if path.suffix not in makers:
            *first, last = makers
            ends = f"{', '.join(first)} or {last}"
            screen.say(f"{path.name}: the name must end in {ends}.", severity="error")
            return
        # Of the app: it may take a while, and the screen may be left meanwhile.
        work_behind(screen.app, partial(make_and_write, path), group="export")

    async def make_and_write(path: Path) -> None:
        try:
            await asyncio.to_thread(lambda: _write_new(path, makers[path.suffix]().encode()))
        except UserError as error:
            screen.say(str(error), severity="error")
        except FileExistsError:  # whatever stands there: a file, a link, a pipe, a device
            screen.say(f"{path} is already there; choose another name.", severity="error")
        except FileNotFoundError:
            screen.say(f"There is no folder {path.parent}; make it first.", severity="error")
        except OSError as error:
            screen.say(f"{path} cannot be written: {reason(error)}.", severity="error")
        else:
            screen.say(f"Written to {path}.")

    screen.app.push_screen(Ask(question, name), write)


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist; one that cannot be completed is removed.

    Raises:
        OSError: when something has this name, or the system refuses.
    """
    fd = open_new(path)
    try:
        write_all(fd, data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
