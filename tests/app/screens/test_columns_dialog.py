"""Choosing the columns of the list: the dialog, the heads, what is remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import OptionList

from moco_tui.app import MocoApp
from moco_tui.screens.columns_dialog import ColumnsDialog
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.user.remembered import columns_of, state_path
from moco_tui.user.user_file import read_user_file
from moco_tui.widgets.run_table import RunTable

from ..conftest import on_screen, screen_text, some_runs, until

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]


def titles(app: MocoApp) -> list[str]:
    table = app.screen.query_one(RunTable)
    return [column.title for column, _ in table.columns(table.scrollable_content_region.width)]


def rows(app: MocoApp) -> list[str]:
    return [row.id for row, _ in app.screen.query_one(RunTable).rows]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.mark.parametrize("size", SIZES)
async def test_columns_are_found_by_typing_ordered_and_there_at_the_next_start(
    root: Path, make_app: MakeApp, path: Path, size: tuple[int, int]
) -> None:
    some_runs(root)
    path.write_text("# mine\n")
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        before = titles(app)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ColumnsDialog))
        await pilot.press(*"queue_size", "enter")
        assert "✓ moco.queue_size" in screen_text(app)
        for _ in range(3):
            await pilot.press("shift+up")
        await pilot.press(*["backspace"] * 10, *"best.knn", "enter", *["backspace"] * 8)
        await pilot.press(*"done", "enter", "escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        names = on_screen(app, RunsScreen).view.names
        assert names[-4] == "moco.queue_size"
        assert names[-1] == "best.knn/top1"
        assert "done" in before
        assert "done" not in names
        if size[0] == 160:
            assert titles(app)[-1] == "best kNN" or "queue_size" in titles(app)
    assert path.read_text() == "# mine\n", "a person's file stays as it is"
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        assert on_screen(app, RunsScreen).view.names == names
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ColumnsDialog))
        await pilot.press("ctrl+r", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert titles(app) == before


async def test_chosen_columns_show_values_in_their_order(
    root: Path, make_app: MakeApp, path: Path
) -> None:
    some_runs(root)
    path.write_text('[columns]\nruns = ["moco.queue_size", "name", "best.knn/top1", "state"]\n')
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        head, first = screen_text(app).splitlines()[1:3]
        assert head.split() == ["queue_size", "name", "best", "kNN", "state"]
        assert first.split() == ["16384", "large", "queue", "56.0", "%", "■", "stopped"]
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ColumnsDialog))
        options = app.screen.query_one("#choices", OptionList)
        assert [options.get_option_at_index(n).id for n in range(4)] == [
            *("moco.queue_size", "name", "best.knn/top1", "state")
        ]
        await pilot.press("enter", "escape")
        await until(pilot, lambda: titles(app) == ["name", "best kNN", "state"])
    user = read_user_file(path)
    assert columns_of(user) == (("name", "best.knn/top1", "state"), state_path(user))
    path.write_text('[columns]\nruns = ["name"]\n')
    assert columns_of(read_user_file(path)) == (("name",), path), "named by hand since"


@pytest.mark.parametrize("size", SIZES)
async def test_a_click_on_a_head_sorts_and_another_reverses(
    root: Path, make_app: MakeApp, path: Path, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        table = app.screen.query_one(RunTable)
        left, above = table.gutter.top_left

        async def click() -> None:
            line = screen_text(app).splitlines()[1 + above]
            await pilot.click(RunTable, offset=(line.index("best") + 1, above))

        del left
        await click()
        await until(pilot, lambda: rows(app) == ["q4r8st", "k7m2qx", "p2b9dz", "f6g3hj"])
        assert "best↓" in screen_text(app)
        await click()
        await until(pilot, lambda: rows(app)[0] == "f6g3hj")
        assert "best↑" in screen_text(app)
        assert "by best, reversed" in screen_text(app)
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        assert rows(app)[0] == "f6g3hj", "the order is remembered too"


async def test_an_order_that_means_nothing_any_more_is_dropped(
    root: Path, make_app: MakeApp, path: Path
) -> None:
    some_runs(root)
    user = read_user_file(path)
    state_path(user).write_text('[runs]\nsort = "-nothing_like_it"\ncolumns = [3, "name"]\n')
    app = make_app(user=user)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: rows(app)[0] == "q4r8st")
        assert on_screen(app, RunsScreen).view.is_first
        assert titles(app) == ["name"]


async def test_a_read_only_app_sorts_and_remembers_nothing(
    root: Path, make_app: MakeApp, path: Path
) -> None:
    some_runs(root)
    app = make_app(user=read_user_file(path), read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "by name" in screen_text(app))
    assert not state_path(app.session.user).exists()


@pytest.mark.parametrize("size", [(80, 24), (160, 45), (40, 12)])
async def test_the_dialog_fits_any_terminal_and_keeps_one_column(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(rows(app)) == 4)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, ColumnsDialog))
        dialog = app.screen
        assert isinstance(dialog, ColumnsDialog)
        for name in dialog.chosen:
            dialog.switch(name)
        assert len(dialog.chosen) == 1
        if size[1] >= 24:
            await until(pilot, lambda: " 1 column " in screen_text(app))
        await pilot.press(*"no such column", "enter", "shift+down", "up", "down", "pagedown")
        assert "no such column" in screen_text(app)
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert len(titles(app)) == 1


async def test_the_losses_stand_in_the_list_as_lines(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: "█" in screen_text(app))
        listed = [line[:88] for line in screen_text(app).splitlines()]
        line = next(line for line in listed if "large queue" in line)
        assert line.split("9.913")[1].split("56.0")[0].strip()[0] == "█", "it begins high"
