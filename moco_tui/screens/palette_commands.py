"""The commands in the palette beside runs and settings, and the form at one of its settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

from textual.app import App, SystemCommand
from textual.screen import Screen

from moco_tui.screens.help_screen import bound_actions
from moco_tui.screens.screen_registry import SCREENS
from moco_tui.session import Session


class CommandedApp(Protocol):
    """What the commands of the app call."""

    def open_form(self, *, kind: str = "pretrain", parent: str = "", like: str = "") -> None:
        """Configure a new run."""

    def open_study(self) -> None:
        """Show the newest study."""

    def start_demo(self) -> None:
        """Start the demonstration."""

    def action_open(self, name: str) -> None:
        """Open a screen of the registry."""

    def action_toggle_theme(self) -> None:
        """Light or dark."""

    def action_change_theme(self) -> None:
        """Choose among all themes."""

    def action_leave(self) -> None:
        """Leave the app."""

    def show_runs(self) -> None:
        """Close what is shown over the table of runs."""


def palette_commands(app: CommandedApp, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """The commands of the app, then the keys of a screen.

    Of a key that does the same as a command of the app the command alone is offered.
    """
    form = app.open_form
    yield SystemCommand("Runs", "All runs, the first screen", app.show_runs)
    yield SystemCommand("New pretraining", "Configure and start a run", form)
    yield SystemCommand("New probe", "Configure and start one", partial(form, kind="probe"))
    yield SystemCommand("New study", "Configure and start one", partial(form, kind="study"))
    yield SystemCommand("Study", "The newest study, or the form for one", app.open_study)
    yield SystemCommand("Demo", "A small run on the embedded images", app.start_demo)
    for name, entry in SCREENS.items():
        if entry.summary:
            open_it = partial(app.action_open, name)
            yield SystemCommand(entry.command or entry.title, entry.summary, open_it)
    yield SystemCommand("Light or dark", "Switch the theme", app.action_toggle_theme)
    yield SystemCommand("Theme", "Choose among all themes", app.action_change_theme)
    yield SystemCommand("Quit", "Leave the app", app.action_leave)
    offered = {"new", "study", "demo", *(f"app.open({name!r})" for name in SCREENS)}
    for title, help_text, run in bound_actions(screen, but=offered):
        yield SystemCommand(title, help_text, run)


async def show_setting(app: App[Any], session: Session, kind: str, key: str) -> None:
    """Show a setting in the form: in that on the screen if it is for this kind of run."""
    # Slow to import, and rarely needed.
    from moco_tui.screens.new_run_screen import NewRunScreen
    from moco_tui.widgets.form_focus import go_to

    shown = app.screen
    if isinstance(shown, NewRunScreen) and shown.state.kind == kind:
        await go_to(shown.body, key)
        return
    form = NewRunScreen(session, kind=kind)
    await app.push_screen(form)
    await go_to(form.body, key)
