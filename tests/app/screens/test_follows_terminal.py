"""A screen ends in the size of the terminal, in whatever order sizes and other messages come."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.geometry import Size
from textual.screen import Screen

from moco_tui import screens
from moco_tui.app import MocoApp
from moco_tui.screens import help_screen
from moco_tui.screens.follows_terminal import FollowsTerminal
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.widgets.key_line import KeyLine

from ..conftest import some_runs, until


@pytest.mark.parametrize("opens", ["table", "help"])
async def test_two_sizes_while_painting_is_held_up_come_to_an_end(
    root: Path, make_app: Callable[..., MocoApp], monkeypatch: pytest.MonkeyPatch, opens: str
) -> None:
    """As when the window is drawn larger while the app starts: both sizes are in the queue."""
    layouts: list[Size | None] = []
    lay_out = Screen._refresh_layout

    def counted(self: Screen[None], size: Size | None = None, scroll: bool = False) -> None:
        layouts.append(size)
        assert len(layouts) < 200, "laid out again and again"
        lay_out(self, size, scroll)

    some_runs(root)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        if opens == "help":
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, help_screen.HelpScreen))
        monkeypatch.setattr(Screen, "_refresh_layout", counted)
        with app.batch_update():
            await pilot.resize_terminal(120, 40)
            for size in (Size(100, 30), Size(120, 40)):
                app.screen.post_message(events.Resize(size, size))
                app.screen.call_later(app.screen.refresh)
            await pilot.pause()
        await until(pilot, lambda: app.screen.size == app.size == Size(120, 40))
        key_line = app.screen_stack[0].query_one(KeyLine)
        await until(pilot, lambda: key_line.region.y == 39)
    assert len(layouts) < 200


async def test_no_batch_of_updates_outlasts_a_handler(
    root: Path, make_app: Callable[..., MocoApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the runs takes long: the table is painted all the same, and keys act."""
    some_runs(root)
    app = make_app()
    monkeypatch.setattr("moco_tui.screens.runs_screen.FIRST_PAINT_SECONDS", 0.01)
    with app.session.runs.lock:  # as a history would that is not read yet
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            assert app._batch_count == 0
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, help_screen.HelpScreen))
            app.session.runs.lock.release()
            await pilot.press("escape")
            await until(pilot, lambda: "4 runs" in app.screen.query_one("#top").note)  # type: ignore[attr-defined]
            app.session.runs.lock.acquire()


def test_every_screen_follows_the_terminal() -> None:
    names = [name for _, name, _ in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}.")]
    found = {
        thing
        for name in names
        for thing in vars(importlib.import_module(name)).values()
        if isinstance(thing, type) and issubclass(thing, Screen) and thing.__module__ == name
    }
    assert len(found) > 10
    assert [screen.__name__ for screen in found if not issubclass(screen, FollowsTerminal)] == []
