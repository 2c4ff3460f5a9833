"""The screens of the app. A new one is a module beside this and a line in ``SCREENS``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct
from textual.binding import Binding
from textual.screen import Screen

from moco_tui.session import Session


class ScreenEntry(Struct, frozen=True):
    """Where a screen is, how it is styled, and what opens it. Dialogs are not listed.

    Attributes:
        place: ``module:class``. It is imported when it is first opened, since the first screen
            must not wait for what the others import. The class takes the session, then the
            arguments of ``create``.
        style: its style sheet, relative to this folder; empty for none.
        key: keys that open it from every screen, separated by commas; empty for a screen that
            needs arguments.
        title: what the key line and the help call it.
        command: its name in the command palette; empty for the title.
        summary: what the command palette says of it; empty keeps it out of the palette.
        page: of the manual that F1 opens over it, with an anchor behind a ``#`` perhaps.
        group: keys of screens of one group share a place in the key line: the shortest is shown.
    """

    place: str
    style: str = ""
    key: str = ""
    title: str = ""
    command: str = ""
    summary: str = ""
    page: str = ""
    group: str = ""

    def load(self) -> type[Screen[Any]]:
        """The class of the screen, imported now."""
        module, _, name = self.place.partition(":")
        found: type[Screen[Any]] = getattr(importlib.import_module(module), name)
        return found


# fmt: off
SCREENS: dict[str, ScreenEntry] = {
    "runs": ScreenEntry("moco_tui.screens.runs_screen:RunsScreen", "runs_screen.tcss",
        page="runs"),
    "monitor": ScreenEntry("moco_tui.screens.monitor_screen:MonitorScreen", "monitor_screen.tcss",
        page="monitor"),
    "form": ScreenEntry("moco_tui.screens.new_run_screen:NewRunScreen", "new_run_screen.tcss",
        page="form"),
    "branch": ScreenEntry("moco_tui.screens.branch_run_screen:BranchRunScreen",
        page="form#going-on-from-a-checkpoint"),
    "compare": ScreenEntry("moco_tui.screens.compare_screen:CompareScreen", "compare_screen.tcss",
        page="runs#comparing-runs"),
    "study": ScreenEntry("moco_tui.screens.study_screen:StudyScreen", "study_screen.tcss",
        page="studies"),
    "look": ScreenEntry("moco_tui.screens.look_screen:LookScreen", "look_screen.tcss",
        page="look"),
    "trash": ScreenEntry("moco_tui.screens.trash_screen:TrashScreen",
        title="Trash", summary="The deleted runs: bring one back, or give their disk back",
        page="runs#the-trash"),
    "devices": ScreenEntry("moco_tui.screens.devices_screen:DevicesScreen",
        title="Devices", summary="Every card and the processor: which run has it, which wait",
        page="machines"),
    "help": ScreenEntry("moco_tui.screens.help_screen:HelpScreen", "help_screen.tcss",
        "question_mark", "Help", "Keys", "Help for this screen", group="help"),
    "manual": ScreenEntry("moco_tui.screens.manual_screen:ManualScreen", "manual_screen.tcss",
        "f1", "Manual", summary="The page of this screen, and all others", group="help"),
}
# fmt: on


def create(name: str, session: Session, **arguments: Any) -> Screen[Any]:
    """A new screen.

    Args:
        name: its name in ``SCREENS``.
        session: what all screens share.
        arguments: what else its class takes.
    """
    screen: Callable[..., Screen[Any]] = SCREENS[name].load()
    return screen(session, **arguments)


def style_sheets() -> list[str | Path]:
    """The style sheets of all screens, in the order of ``SCREENS``.

    The app names them in its ``CSS_PATH``: one in that of a screen would be read, and all styles be
    computed again, when the screen is opened. Their paths are absolute, since Textual looks for
    relative ones beside the module of the app.
    """
    return [Path(__file__).parent / entry.style for entry in SCREENS.values() if entry.style]


def bindings() -> list[Binding]:
    """The keys that open a screen from everywhere, as bindings of the app."""
    return [
        Binding(
            *(entry.key, f"open({name!r})", entry.title),
            group=Binding.Group(entry.group) if entry.group else None,
        )
        for name, entry in SCREENS.items()
        if entry.key
    ]


def page_of(screen: Screen[Any]) -> str:
    """The page of the manual that is about a screen, with its anchor; empty for none."""
    place = f"{type(screen).__module__}:{type(screen).__name__}"
    return next((entry.page for entry in SCREENS.values() if entry.place == place), "")
