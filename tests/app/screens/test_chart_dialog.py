"""Choosing charts by name: filter, order, how many, and what is remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList

from moco_tui.app import MocoApp
from moco_tui.screens.chart_dialog import ChooseCharts
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.user.remembered import charts_of, remember_charts
from moco_tui.user.user_file import read_user_file
from moco_tui.widgets.chart_grid import ChartGrid

from ..conftest import on_screen, screen_text, until, write_run
from ..recorded_logs import recorded_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
USUAL = ["loss", "accuracy", "similarity", "rank", "queue"]


def drawn(app: MocoApp) -> list[str]:
    return list(on_screen(app, MonitorScreen).query_one(ChartGrid).charts)


async def opened(app: MocoApp, pilot: Any, run: str) -> None:
    app.open_run(run)
    await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
async def test_a_chart_is_found_by_typing_drawn_moved_and_remembered(
    root: Path, make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    recorded_run(root, "healthy-quick")
    config = tmp_path / "config.toml"
    config.write_text('theme = "nord"  # mine\n')
    app = make_app(user=read_user_file(config))
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, "m3a7sr")
        assert drawn(app) == USUAL
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, ChooseCharts))
        await pilot.press(*"unif")
        await until(pilot, lambda: "uniformity" in screen_text(app))
        options = app.screen.query_one(OptionList)
        assert options.option_count == 1
        await pilot.press("enter", "escape", "shift+up", "shift+up")
        assert "6 of at most 6 charts" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        wanted = ["loss", "accuracy", "similarity", "embedding/uniformity", "rank", "queue"]
        assert drawn(app) == wanted
        await pilot.press("4")
        await until(pilot, lambda: "4 uniformity" in screen_text(app))
    assert config.read_text() == 'theme = "nord"  # mine\n'
    again = make_app(user=read_user_file(config))
    async with again.run_test(size=size) as pilot:
        await opened(again, pilot, "m3a7sr")
        assert drawn(again) == wanted
        await pilot.press("m")
        await until(pilot, lambda: isinstance(again.screen, ChooseCharts))
        await pilot.press("ctrl+r", "escape")
        await until(pilot, lambda: isinstance(again.screen, MonitorScreen))
        assert drawn(again) == USUAL
    assert charts_of(read_user_file(config), "pretrain") == []


async def test_a_seventh_chart_is_refused_and_one_can_be_taken_away(
    root: Path, make_app: MakeApp
) -> None:
    recorded_run(root, "healthy-quick")
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "m3a7sr")
        await pilot.press("m", *"alignment", "enter", *["backspace"] * 9, *"uniformity", "enter")
        await until(pilot, lambda: "room for 6 charts: take one away first" in screen_text(app))
        await pilot.press("escape", *["pageup"] * 4, "enter", "escape")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert drawn(app) == [*USUAL[1:], "embedding/alignment"]
        assert app.screen.query_one("#loss").region.area == 0


async def test_what_one_run_lacks_is_drawn_of_another(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    recorded_run(root, "healthy-quick")
    write_run(root, "plain1", steps=30)
    user = read_user_file(tmp_path / "config.toml")
    assert remember_charts(user, "pretrain", ["rank", "train/lr", "loss"]) == ""
    app = make_app(user=user)
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "plain1")
        await until(pilot, lambda: drawn(app) == ["train/lr", "loss"])
        app.open_run("m3a7sr")
        await until(pilot, lambda: drawn(app)[0] == "rank")


async def test_nothing_found_is_said_and_keys_do_nothing(root: Path, make_app: MakeApp) -> None:
    write_run(root, "plain1", steps=30)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "plain1")
        await pilot.press("m", *"zzz")
        await until(pilot, lambda: "no such chart" in screen_text(app))
        await pilot.press("enter", "down", "pagedown", "shift+down", "escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert drawn(app) == ["loss", "accuracy"]
