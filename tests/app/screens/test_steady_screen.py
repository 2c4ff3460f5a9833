"""Screens end in the size of the terminal and close once, in whatever order things come."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.geometry import Size
from textual.screen import Screen

from engine.runs import MetricLog
from moco_tui import screens
from moco_tui.app import MocoApp
from moco_tui.screens import help_screen
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.widgets.key_line import KeyLine
from moco_tui.widgets.run_table import RunTable

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
    monkeypatch.setattr("moco_tui.screens.listing_screen.FIRST_PAINT_SECONDS", 0.01)
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


def test_every_screen_is_steady() -> None:
    names = [name for _, name, _ in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}.")]
    found = {
        thing
        for name in names
        for thing in vars(importlib.import_module(name)).values()
        if isinstance(thing, type) and issubclass(thing, Screen) and thing.__module__ == name
    }
    assert len(found) > 10
    assert [screen.__name__ for screen in found if not issubclass(screen, SteadyScreen)] == []


@pytest.mark.parametrize("opens", ["question_mark", "n", "enter", "ctrl+p"])
async def test_keys_in_a_burst_close_a_screen_once(
    root: Path, make_app: Callable[..., MocoApp], opens: str
) -> None:
    """Over a slow connection they come together, before the first of them has closed anything."""
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.screen.query_one(RunTable).rows) == 4)
        await pilot.press(opens)
        await until(pilot, lambda: len(app.screen_stack) == 2 and app.screen.is_mounted)
        for _ in range(4):
            app.post_message(events.Key("escape", "\x1b"))
        await until(pilot, lambda: len(app.screen_stack) == 1)
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, help_screen.HelpScreen))


async def test_a_screen_that_is_closed_twice_answers_once(make_app: Callable[..., MocoApp]) -> None:
    answers: list[bool | None] = []
    app = make_app()
    async with app.run_test() as pilot:
        dialog = Confirm("Really?")
        app.push_screen(dialog, answers.append)
        await until(pilot, lambda: app.screen is dialog)
        dialog.dismiss(True)
        dialog.dismiss(False)
        await until(pilot, lambda: app.screen is not dialog)
        await pilot.pause()
        assert answers == [True]
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("turn", ["pageup", "pagedown"])
async def test_pages_of_the_palette_may_be_turned_while_it_is_empty(
    make_app: Callable[..., MocoApp], turn: str
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await pilot.press("ctrl+p", "up", turn, turn, "down", turn, "Q", "u", turn, "escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_the_palette_opens_again_while_the_last_one_closes(
    make_app: Callable[..., MocoApp],
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        for _ in range(3):
            app.action_command_palette()
            app.action_command_palette()  # twice is once
            assert len(app.screen_stack) == 2
            await until(pilot, lambda: app.screen.is_mounted)
            app.screen.dismiss(None)
        await until(pilot, lambda: len(app.screen_stack) == 1)


@pytest.mark.parametrize("opens", ["monitor", "compare"])
async def test_a_screen_that_is_closed_while_it_reads_does_nothing_more(
    root: Path, make_app: Callable[..., MocoApp], monkeypatch: pytest.MonkeyPatch, opens: str
) -> None:
    reading, go_on = threading.Event(), threading.Event()
    poll = MetricLog.poll

    def slow(self: MetricLog) -> bool:
        reading.set()
        go_on.wait(30)
        return poll(self)

    some_runs(root)
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(app.screen.query_one(RunTable).rows) == 4)
        monkeypatch.setattr(MetricLog, "poll", slow)
        if opens == "monitor":
            app.open_run("k7m2qx")
        else:
            app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, reading.is_set)
        commands = {c.title: c.callback for c in app.get_system_commands(app.screen)}
        app.screen.dismiss(None)
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await commands["Back"]()
        go_on.set()
        await until(pilot, lambda: all(worker.is_finished for worker in app.workers))
        assert app.is_running
        assert isinstance(app.screen, RunsScreen)
