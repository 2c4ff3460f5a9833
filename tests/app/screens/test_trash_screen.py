"""The trash in the app: listed, one brought back, one removed, all of it emptied."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import OptionList

from engine.errors import RunError
from engine.history.history import History
from engine.history.together import delete_together
from moco_tui.app import MocoApp
from moco_tui.present.disk_usage import TrashedRow
from moco_tui.screens import trash_screen
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.screens.trash_screen import TrashScreen
from moco_tui.widgets.run_table import RunTable
from moco_tui.widgets.top_bar import TopBar

from ..conftest import screen_text, some_runs, until

MakeApp = Callable[..., MocoApp]


def listed(app: MocoApp) -> int:
    return app.screen.query_one("#trash", OptionList).option_count


def rows_of(app: MocoApp) -> int:
    return len(app.screen.query_one(RunTable).rows)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_one_comes_back_and_the_rest_goes_after_a_question(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    history = History(root)
    for id_ in ("q4r8st", "f6g3hj"):
        history.delete(id_)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: rows_of(app) == 2)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen) and listed(app) == 2)
        assert "large queue" in screen_text(app)
        assert "KiB in all" in screen_text(app)
        await pilot.press("down", "enter")  # the one that was deleted first
        await until(pilot, lambda: listed(app) == 1)
        assert (root / "q4r8st").is_dir()
        await pilot.press("ctrl+d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "for good" in screen_text(app)
        await pilot.press("n")
        assert (root / ".trash" / "f6g3hj").is_dir(), "No means no"
        await until(pilot, lambda: isinstance(app.screen, TrashScreen))
        await pilot.press("shift+delete")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: "The trash is empty." in screen_text(app))
        assert list((root / ".trash").iterdir()) == []
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and rows_of(app) == 3)


async def test_one_is_removed_with_what_went_with_it(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    history = History(root)
    delete_together(history, "k7m2qx", ["p2b9dz"])
    history.delete("f6g3hj")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: rows_of(app) == 1)
        app.action_open("trash")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen) and listed(app) == 3)
        await pilot.press("down", "d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "goes 1 run" in " ".join(screen_text(app).split())
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen) and listed(app) == 1)
        assert [path.name for path in (root / ".trash").iterdir()] == ["f6g3hj"]


async def test_a_read_only_app_only_lists(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    History(root).delete("q4r8st")
    app = make_app(read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: rows_of(app) == 3)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen) and listed(app) == 1)
        for key in ("enter", "u", "d", "ctrl+d"):
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(app.screen, TrashScreen), f"{key} opened something"
        assert (root / ".trash" / "q4r8st").is_dir()


@pytest.mark.parametrize("readable", [True, False])
async def test_closed_while_it_reads_it_shows_nothing(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    """A thread that reads cannot be stopped, its widgets go before its worker."""
    some_runs(root)
    closing = threading.Event()

    def slow(history: History) -> list[TrashedRow]:
        assert closing.wait(30)
        if readable:
            return []
        raise RunError("The trash cannot be read.")

    async def gone(top: TopBar) -> None:
        closing.set()
        await asyncio.sleep(0.2)  # the thread comes to its end while the screen still closes

    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: rows_of(app) == 4)
        monkeypatch.setattr(trash_screen, "trashed_rows", slow)
        monkeypatch.setattr(TopBar, "on_unmount", gone, raising=False)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await app.workers.wait_for_complete()
        assert closing.is_set()
