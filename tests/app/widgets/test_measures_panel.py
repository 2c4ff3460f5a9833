"""The panel of the measures in the monitor: values, changes, curves, meanings; keys and mouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from textual.events import MouseScrollDown
from textual.widgets import Static

from engine.config.metrics import MEASURES, METRICS
from engine.runs.metric_writer import encode_line
from moco_tui.app import MocoApp
from moco_tui.present.lines import Line
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets.chart_grid import ChartGrid
from moco_tui.widgets.measures_panel import NONE_EVER, NONE_YET, MeasuresPanel, measure_lines

from ..conftest import NOW, on_screen, screen_text, some_runs, until
from ..recorded_logs import recorded_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]


def texts(lines: Sequence[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", [30, 78, 104])
def test_every_measure_has_a_line_within_the_width(
    root: Path, width: int, ascii_only: bool
) -> None:
    log = recorded_run(root, "healthy-quick").metrics()
    log.poll()
    lines = texts(measure_lines(log, [], width, ascii_only=ascii_only, live=False))
    assert max(map(len, lines)) <= max(width, 30 + 11)
    if width < 78:
        return
    for name in MEASURES:
        (line,) = [one for one in lines if one.startswith(METRICS[name].title + " ")]
        known, unit = log.last(name), METRICS[name].unit
        assert known is not None
        shown = line[38:48].split()
        assert float(shown[0]) == pytest.approx(known, rel=6e-3, abs=6e-2)
        assert shown[1:] == ([unit] if unit else [])
        assert len(set(line[60:].strip())) > 1 or name in ("embedding/dead", "queue/filled")
        assert line[60:].isascii() or not ascii_only
    heads = [line for line in lines if line in ("contrastive task", "queue", "encoders")]
    assert heads == ["contrastive task", "queue", "encoders"]


@pytest.mark.parametrize("size", SIZES)
async def test_the_key_leads_to_the_panel_which_scrolls(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    recorded_run(root, "momentum0")
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("m3a7sr")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        await pilot.press("percent_sign")
        panel = app.screen.query_one(MeasuresPanel)
        assert app.focused is panel
        await until(pilot, lambda: "The embedding collapses" in screen_text(app))
        await until(pilot, lambda: "contrastive task" in screen_text(app))
        await pilot.press("end")
        await until(pilot, lambda: "uniformity" in screen_text(app))
        for _ in range(40):
            panel.action_scroll_lines(-1)
        await until(pilot, lambda: "contrastive task" in screen_text(app))
        await pilot.press("i")
        await until(pilot, lambda: "what its measures say" in screen_text(app))


async def test_a_click_on_its_name_leads_to_the_panel_and_the_wheel_scrolls_it(
    root: Path, make_app: MakeApp
) -> None:
    recorded_run(root, "healthy-quick")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("m3a7sr")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        tabs = app.screen.query_one("#tabs", Static)
        await until(pilot, lambda: "% measures" in screen_text(app))
        rows = screen_text(app).splitlines()[tabs.region.y : tabs.region.bottom]
        y, row = next((y, row) for y, row in enumerate(rows) if "% measures" in row)
        await pilot.click(tabs, offset=(row.index("% measures") + 3 - tabs.region.x, y))
        panel = app.screen.query_one(MeasuresPanel)
        await until(pilot, lambda: app.focused is panel)
        first = panel.render_line(1)
        panel.post_message(MouseScrollDown(panel, 5, 2, 0, 0, 0, False, False, False))
        await until(pilot, lambda: panel.render_line(1) != first)


async def test_without_unicode_the_panel_is_ascii(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    recorded_run(root, "healthy-quick")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("m3a7sr")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        await pilot.press("percent_sign")
        panel = app.screen.query_one(MeasuresPanel)
        await until(pilot, lambda: len(panel.lines) > 16)
        assert all(text.isascii() for line in panel.lines for text, _ in line)


@pytest.mark.parametrize(("status", "words"), [("finished", NONE_EVER), ("running", NONE_YET)])
async def test_a_run_without_measures_says_from_when_there_are_some(
    root: Path, make_app: MakeApp, status: str, words: str
) -> None:
    folder = recorded_run(root, "healthy-quick", status="queued" if status == "running" else status)
    folder.metrics_path.write_bytes(encode_line(1, 0.1, NOW, {"train/loss": 9.0}))
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("m3a7sr")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        await pilot.press("percent_sign")
        await until(pilot, lambda: " ".join(words.split()[:4]) in screen_text(app))
        assert "contrastive task" not in screen_text(app)


async def test_measures_that_arrive_are_drawn_at_once_beside_the_others(
    root: Path, make_app: MakeApp
) -> None:
    folder = recorded_run(root, "healthy-quick")
    whole = folder.metrics_path.read_bytes()
    folder.metrics_path.write_bytes(b"")
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("m3a7sr")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        assert list(app.screen.query_one(ChartGrid).charts) == ["loss", "accuracy"]
        assert app.screen.query_one(MeasuresPanel).region.area == 0
        folder.metrics_path.write_bytes(whole)
        await until(pilot, lambda: "effective rank" in screen_text(app))
        charts = app.screen.query_one(ChartGrid).charts
        assert list(charts) == ["loss", "accuracy", "similarity", "rank", "queue"]
        await until(pilot, lambda: all(chart.region.area for chart in charts.values()))
        areas = [chart.region for chart in charts.values()]
        assert [area.y for area in areas[:3]] == [areas[0].y] * 3
        assert areas[0].right <= areas[1].x < areas[1].right <= areas[2].x
        assert areas[0].bottom <= areas[3].y == areas[4].y


async def test_a_probe_has_no_such_panel(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("p2b9dz")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        await pilot.press("percent_sign")
        assert not app.screen.query_one(MeasuresPanel).display


def test_each_measure_has_a_meaning_of_one_line() -> None:
    for name in MEASURES:
        known = METRICS[name]
        assert known.group
        assert known.title
        assert 20 < len(known.meaning) <= 90, name
        assert known.meaning.isascii()
