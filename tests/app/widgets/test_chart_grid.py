"""The grid of charts: what moves together, what is enlarged, and what costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.runs import RunFolder
from engine.runs.metric_writer import encode_line
from moco_tui.app import MocoApp
from moco_tui.charts.axes import step_limits
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.chart_grid import ChartGrid
from moco_tui.widgets.panel import Panel

from ...machine_loads import write_history
from ..conftest import NOW, on_screen, screen_text, until, write_run
from ..recorded_logs import recorded_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]


def charts(app: MocoApp) -> dict[str, Chart]:
    return on_screen(app, MonitorScreen).query_one(ChartGrid).charts


async def opened(app: MocoApp, pilot: Any, run: str) -> None:
    app.open_run(run)
    await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
    await until(pilot, lambda: len(charts(app)["loss"].curves[0].series))
    await pilot.pause()


def seen(app: MocoApp) -> list[str]:
    """Keys of the panels that have room on the screen."""
    panels = on_screen(app, MonitorScreen).query(Panel)
    return sorted(panel.key for panel in panels if panel.key and panel.region.area)


def sees(app: MocoApp, keys: list[str]) -> bool:
    return seen(app) == keys


def is_shown(app: MocoApp, words: str) -> bool:
    return words in screen_text(app)


def spans_all(chart: Chart) -> bool:
    return chart.view.whole == (0, 40)


async def test_the_curves_of_a_run_that_went_on_from_another_begin_there(
    root: Path, make_app: MakeApp
) -> None:
    """Before that it has the accuracy of an untrained net alone."""
    branch = {
        "run": "aaaaaa", "checkpoint": "last", "step": 30, "epoch": 3.0, "how": "extend",
        "sha256": "0" * 64,
    }  # fmt: skip
    run = write_run(root, "r1", steps=40, began_from=branch)
    write_run(root, "r2", steps=40)
    for folder in (run, RunFolder(root / "r2")):
        lines = folder.metrics_path.read_bytes().splitlines(keepends=True)[-15:]
        untrained = encode_line(0, 0.0, NOW - 600, {"knn/top1": 20.0})
        folder.metrics_path.write_bytes(b"".join([untrained, *lines]))
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        for name, first in (("r1", 30), ("r2", 0)):
            await opened(app, pilot, name)
            for key in ("loss", "accuracy"):
                chart = charts(app)[key]
                await until(pilot, partial(spans_all, chart))
                assert step_limits(chart.view, chart.curves) == (first, 40)
            await pilot.press("escape")


async def test_a_wide_screen_shows_charts_over_epochs_and_log(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "r1", steps=40)
    write_history(root / "r1" / "devices.jsonl", [0.5] * 9, began=NOW - 600)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "r1")
        await until(pilot, lambda: "device:card0/use" in charts(app))
        await until(pilot, lambda: seen(app) == ["1", "2", "3", "8", "9"])
        areas = {p.key: p.region for p in app.screen.query(Panel) if p.region.area and p.key}
        assert areas["1"].right <= areas["2"].x < areas["2"].right <= areas["3"].x
        assert areas["1"].bottom <= areas["8"].y == areas["9"].y
        assert sum(areas[key].width for key in "123") == 160
        assert "50 % · " in charts(app)["device:card0/use"].readout()
        await pilot.resize_terminal(220, 60)
        await until(pilot, lambda: seen(app) == ["#", "1", "2", "3", "8", "9"])


async def test_a_narrow_screen_shows_one_panel_and_names_the_others(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "r1", steps=40)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot, "r1")
        for key in ("1", "2", "8", "9", "7", "percent_sign", "number_sign", "1"):
            await pilot.press(key)
            shown = {"percent_sign": "%", "number_sign": "#"}.get(key, key)
            await until(pilot, partial(sees, app, [shown]))
            panel = next(p for p in app.screen.query(Panel) if p.region.area and p.key)
            assert panel.region.width == 78
            assert panel.region.height >= 17
        for name in ("1 loss", "2 accuracy", "7 load", "8 epochs", "9 log", "% measures"):
            assert name in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_charts_of_steps_move_together_and_one_of_time_does_not(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    write_run(root, "r1", steps=100)
    write_history(root / "r1" / "devices.jsonl", [0.5] * 9, began=NOW - 600)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, "r1")
        await until(pilot, lambda: "device:card0/use" in charts(app))
        loss, accuracy, use = charts(app).values()
        await pilot.press("left", "shift+left", "plus", "plus", "comma")
        assert loss.view.low is not None
        for name in ("low", "high", "cursor"):
            assert getattr(accuracy.view, name) == getattr(loss.view, name)
        assert use.view.low is None
        assert use.view.cursor is None
        await pilot.press("2", "U", "full_stop")
        assert loss.view.per_epoch == 10
        assert loss.view.low == accuracy.view.low
        assert "zoom" in accuracy.readout()
        assert "epochs" in accuracy.readout()
        await pilot.press("0", "l", "escape")
        assert [loss.view.low, loss.view.cursor] == [None, None]
        assert accuracy.view.log
        assert not loss.view.log, "the scale is each chart's own"
        assert "log" in accuracy.readout()


async def test_charts_of_steps_span_the_same_steps(root: Path, make_app: MakeApp) -> None:
    folder = write_run(root, "r1", steps=94)
    with folder.metrics_path.open("ab") as file:
        file.write(encode_line(0, 0.0, NOW, {"knn/top1": 20.0}))
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "r1")
        loss, accuracy = charts(app)["loss"], charts(app)["accuracy"]
        await until(pilot, lambda: loss._drawing and accuracy._drawing)
        for chart in (loss, accuracy):
            drawing = chart._current_drawing()
            assert drawing is not None
            assert (drawing.low, drawing.high) == (0, 94)


async def test_a_step_draws_the_charts_that_it_is_in_and_no_hidden_ones(
    root: Path, make_app: MakeApp
) -> None:
    folder = write_run(root, "r1", steps=5000)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "r1")
        count = dict.fromkeys(charts(app), 0)
        for key, chart in charts(app).items():

            def counted(*size: int, key: str = key, inner: Any = chart.drawn) -> Any:
                count[key] += 1
                return inner(*size)

            chart.drawn = counted  # type: ignore[assignment,method-assign]
        screen = on_screen(app, MonitorScreen)

        async def grown(step: int) -> None:
            with folder.metrics_path.open("ab") as file:
                file.write(encode_line(step, step / 10, NOW, {"train/loss": 7.0}))
            await until(pilot, lambda: charts(app)["loss"].curves[0].series.steps[-1] == step)
            await pilot.pause()

        await grown(5001)
        assert count == {"loss": 1, "accuracy": 0}, "a fiftieth of a cell is no reason to draw"
        await pilot.press("2", "z")
        await until(pilot, lambda: seen(app) == ["2"])
        count["loss"] = 0
        await grown(5002)
        assert count["loss"] == 0, "it is not on the screen"
        for _ in range(3):
            screen.tick()
            await pilot.pause()
        before = dict(count)
        screen.tick()
        await pilot.pause()
        assert count == before, "nothing is new"


@pytest.mark.parametrize("leave", ["z", "enter", "escape"])
async def test_a_chart_has_the_whole_screen_until_it_gives_it_back(
    root: Path, make_app: MakeApp, leave: str
) -> None:
    write_run(root, "r1", steps=40)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot, "r1")
        await pilot.press("2", "enter")
        await until(pilot, lambda: seen(app) == ["2"])
        assert charts(app)["accuracy"].region.width == 160
        await pilot.press("1")
        await until(pilot, lambda: seen(app) == ["1"])
        await pilot.press(leave)
        await until(pilot, lambda: seen(app) == ["1", "2", "8", "9"])
        on_screen(app, MonitorScreen)
        await pilot.press("9", "z")
        await until(pilot, lambda: seen(app) == ["9"])


@pytest.mark.parametrize("size", SIZES)
async def test_the_values_of_several_curves_stand_in_the_legend(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    recorded_run(root, "healthy-quick", losses=True)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot, "m3a7sr")
        await pilot.press("3")
        log = on_screen(app, MonitorScreen).log_reader
        for short, name in (("positive", "contrast/positive"), ("hardest", "contrast/hardest")):
            await until(pilot, partial(is_shown, app, f"{short} {log.last(name):.3g}"))
        await pilot.press("left", "shift+left")
        chart = charts(app)["similarity"]
        assert chart.readout().startswith("step ")
        steps, values = log.series("contrast/positive")
        assert chart.view.cursor is not None
        cursor = chart.view.cursor
        nearest = min(range(len(steps)), key=lambda i: abs(steps[i] - cursor))
        await until(pilot, lambda: f"positive {values[nearest]:.3g}" in screen_text(app))
