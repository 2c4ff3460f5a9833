"""A finished probe fills the screen: table, bars for each class, confusions of each encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.runs.metric_writer import encode_line
from moco_tui.app import MocoApp
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets.chart_grid import ChartGrid
from moco_tui.widgets.probe_results import ProbeConfusions, matrix_of

from ..conftest import NOW, RESULT, on_screen, screen_text, until, write_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45), (220, 60)]
NAMES = ["airplane", "automobile", "bird", "cat", "deer"]


def matrix(diagonal: int) -> list[list[int]]:
    rest = (100 - diagonal) // 4
    return [[diagonal if i == j else rest for j in range(5)] for i in range(5)]


def result() -> dict[str, Any]:
    rows = [
        {
            **row,
            "per_class": dict.fromkeys(NAMES, float(diagonal)),
            "confusion": matrix(diagonal),
            "seconds": 12.0,
        }
        for row, diagonal in zip(RESULT["rows"], (60, 40, 20), strict=True)
    ]
    return RESULT | {"rows": rows}


def probe(root: Path, found: dict[str, Any], **record: Any) -> None:
    write_run(root, "p1", kind="probe", result=found, steps_per_epoch=0, **record)


async def opened(app: MocoApp, pilot: Any) -> None:
    app.open_run("p1")
    await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
async def test_confusions_of_each_encoder_are_shaded_and_said_in_words(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    probe(root, result())
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        await pilot.press("3")
        await until(
            pilot, lambda: "airplane taken for itself: 60 of 100 (60 %)" in screen_text(app)
        )
        assert "█" in screen_text(app)
        await pilot.press("right", "V")
        await until(pilot, lambda: "confusions of random-init" in screen_text(app))
        await until(pilot, lambda: "airplane taken for automobile: 15 of 100" in screen_text(app))
        grid = app.screen.query_one(ProbeConfusions)
        x = grid.content_region.x - grid.region.x + grid._label_width + 2 * grid._cell_width + 1
        y = grid.content_region.y - grid.region.y + 1 + grid._cell_height * 3
        await pilot.click(grid, offset=(x, y))
        assert grid.cell == (3, 2), "a click hits the cell that it shows, however large"


@pytest.mark.parametrize("size", SIZES[1:])
async def test_a_finished_probe_leaves_no_half_of_the_screen_empty(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    probe(root, result())
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await opened(app, pilot)
        await until(pilot, lambda: "accuracy by class" in screen_text(app))
        table, classes, confusion = (
            app.screen.query_one(f"#{name}").region for name in ("rows", "classes", "confusion")
        )
        assert table.width == size[0]
        assert table.bottom <= classes.y == confusion.y
        assert classes.right <= confusion.x
        text = screen_text(app)
        for words in ("majority", "over untrained", "+11.2 pts", "12 s", "━━━━"):
            assert words in text
        lines = text.splitlines()[classes.y + 1 : classes.bottom - 1]
        used = sum(bool(line.strip("│ ")) for line in lines)
        assert used >= len(lines) / 2


@pytest.mark.parametrize("found", [RESULT, {}, {"rows": 5}, {"rows": [{"source": "x"}]}])
async def test_results_of_other_versions_lack_what_they_lack(
    root: Path, make_app: MakeApp, found: dict[str, Any]
) -> None:
    probe(root, found)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot)
        await pilot.press("3", "2", "1")
        assert "confusions of" not in screen_text(app)
        assert ("accuracy by class" in screen_text(app)) == (found is RESULT)


@pytest.mark.parametrize(
    ("confusion", "fits"),
    [
        (matrix(60), True),
        (matrix(60)[:4], False),
        ([[1, 2]], False),
        ("x", False),
        ([[True] * 5] * 5, False),
        ([[-1] * 5] * 5, False),
    ],
)
def test_a_matrix_that_does_not_fit_its_classes_is_none(confusion: Any, fits: bool) -> None:
    row = {"per_class": dict.fromkeys(NAMES, 1.0), "confusion": confusion}
    assert (matrix_of(row) is not None) == fits


async def test_curves_of_trials_have_names_that_can_be_read(root: Path, make_app: MakeApp) -> None:
    probe(root, result())
    names = [f"probe/supervised/lr_{lr}/validation_top1" for lr in ("0.02", "0.1")]
    lines = [encode_line(n, n, NOW, dict.fromkeys(names, float(n))) for n in range(1, 9)]
    (root / "p1" / "metrics.jsonl").write_bytes(b"".join(lines))
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        await opened(app, pilot)
        await until(pilot, lambda: list(on_screen(app, MonitorScreen).query_one(ChartGrid).charts))
        chart = on_screen(app, MonitorScreen).query_one(ChartGrid).charts["accuracy"]
        assert [curve.name for curve in chart.curves] == [
            "supervised, lr 0.02: validation top-1",
            "supervised, lr 0.1: validation top-1",
        ]
        await until(pilot, lambda: "supervised, lr 0.1" in screen_text(app))
        assert chart.key == "4"
