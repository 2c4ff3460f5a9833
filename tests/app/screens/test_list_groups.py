"""Grouping the list by seed: the key, the fold, the preview, the next start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from moco_tui.app import MocoApp
from moco_tui.charts.mean_points import MeanPoints
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.user.user_file import read_user_file
from moco_tui.widgets.preview_body import PreviewChart
from moco_tui.widgets.run_preview_frame import RunPreviewFrame
from moco_tui.widgets.run_table import RunTable

from ..conftest import NOW, screen_text, until, write_run

MakeApp = Callable[..., MocoApp]


def seeds(root: Path) -> None:
    for seed in range(3):
        write_run(
            *(root, f"r{seed}"),
            name=f"small, seed {seed}",
            sets=(f"seed={seed}",),
            steps=40,
            accuracy=40.0 + seed,
            created=NOW - 100 + seed,
        )
    write_run(root, "other1", name="another", sets=("lr=1",), steps=40, created=NOW)


def ids(app: MocoApp) -> list[str]:
    return [row.id for row, _ in app.screen.query_one(RunTable).rows]


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_runs_of_other_seeds_fold_into_a_line_with_their_mean_and_band(
    root: Path, make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    seeds(root)
    path = tmp_path / "config.toml"
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        table = app.screen.query_one(RunTable)
        await until(pilot, lambda: len(ids(app)) == 4)
        table.select("r1")
        await pilot.press("g")
        await until(pilot, lambda: ids(app) == ["other1", "r0/seeds"])
        assert "seeds together" in screen_text(app)
        assert table.line is not None
        assert table.line.id == "r0/seeds", "the cursor goes where its run went"
        assert "▸ small x3 ±" in screen_text(app)
        if not app.screen.query_one(RunPreviewFrame).display:
            await pilot.press("v")
        chart = "#preview-loss"
        await until(
            pilot,
            lambda: isinstance(
                app.screen.query_one(chart, PreviewChart).curves[0].series, MeanPoints
            ),
        )
        assert "mean of 3 seeds" in screen_text(app)
        await pilot.press("d")
        assert len(app.screen_stack) == 1, "a line of many is no run to delete"
        await pilot.press("enter")
        await until(pilot, lambda: ids(app) == ["other1", "r0/seeds", "r2", "r1", "r0"])
        table.select("r1")
        await pilot.press("f")
        await until(pilot, lambda: len(ids(app)) == 2)
        await pilot.press("slash", *"seed=2")
        await until(pilot, lambda: "r2" in ids(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(ids(app)) == 2)
    app = make_app(user=read_user_file(path))
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: len(ids(app)) == 2)
        app.screen.query_one(RunTable).select("r0/seeds")
        await pilot.press("g")
        await until(pilot, lambda: len(ids(app)) == 4)
        line = app.screen.query_one(RunTable).line
        assert line is not None
        assert line.id in {"r0", "r1", "r2"}
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))


async def test_a_click_on_its_sign_opens_a_group(root: Path, make_app: MakeApp) -> None:
    seeds(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(ids(app)) == 4)
        await pilot.press("g")
        await until(pilot, lambda: len(ids(app)) == 2)
        line = next(line for line in screen_text(app).splitlines() if "▸ small" in line)
        await pilot.click(RunTable, offset=(line.index("▸ small"), 1 + ids(app).index("r0/seeds")))
        await until(pilot, lambda: len(ids(app)) == 5)
