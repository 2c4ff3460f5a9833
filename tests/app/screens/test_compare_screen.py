"""Comparing runs: what differs, which is better, and what is exported."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from textual.widgets import Input

from engine.runs.metric_writer import encode_line
from engine.runs.provenance import ProvenancePart
from moco_tui.app import MocoApp
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.screens.dialogs import Ask
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.text_panel import TextPanel

from ..conftest import NOW, on_screen, screen_text, some_runs, until, write_run

MakeApp = Callable[..., MocoApp]


def lines(app: MocoApp, panel: str) -> list[str]:
    found = app.screen.query_one(f"#{panel}", TextPanel).lines
    return ["".join(text for text, _ in line) for line in found]


async def test_only_settings_that_differ_and_differences_with_direction(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 2)
        settings = lines(app, "settings")
        assert len(settings) == 2, "one head and the one setting that differs"
        assert settings[1].split() == ["moco.queue_size", "4096", "16384"]
        text = screen_text(app)
        assert "notebook  (k7m2qx)" in text
        assert "large queue  (q4r8st)" in text
        assert "● notebook" in text
        assert "■ large queue" in text
        metrics = "\n".join(lines(app, "metrics"))
        assert "pts better" in metrics
        await pilot.press("m")
        await until(pilot, lambda: on_screen(app, CompareScreen).metric == "knn/top1")
        assert app.screen.query_one(Chart).unit == " %"


async def test_few_points_are_drawn_as_they_were_measured(root: Path, make_app: MakeApp) -> None:
    """A mean over ten epochs drew a run that ended at 34.5 as ending at 38."""
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 2)
        chart = app.screen.query_one(Chart)
        assert [curve.series.window for curve in chart.curves] == [15, 15]
        assert "mean of 15" in chart.readout()
        assert "w Smooth" in screen_text(app)
        await pilot.press("m")
        await until(pilot, lambda: on_screen(app, CompareScreen).metric == "knn/top1")
        for _ in range(3):
            assert all(curve.series.window == 1 for curve in chart.curves)
            assert "mean of" not in chart.readout()
            assert "w Smooth" not in screen_text(app)
            await pilot.press("w")


async def test_the_cursor_reads_every_run_at_one_step_or_says_at_which(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "a1bcdf", steps=120)
    write_run(root, "b2bcdf", steps=80)
    for run_id, steps in (("a1bcdf", (10, 20, 30, 120)), ("b2bcdf", (10, 30, 35))):
        lines = (encode_line(s, s / 10, NOW, {"knn/top1": 0.5 * s}) for s in steps)
        (root / run_id / "metrics.jsonl").write_bytes(b"".join(lines))
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_comparison(["a1bcdf", "b2bcdf"])
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 2)
        chart = app.screen.query_one(Chart)
        assert chart.unit == " %"
        for at, wanted in (
            (30, "step 30  ● 15.00 %  ■ 15.00 %"),
            (10.2, "step 10  ● 5.000 %  ■ 5.000 %"),  # in one cell, which both have
            (20, "step 20  ● 10.00 %  ■ 5.000 % (step 10)"),
            (110, "step 120  ● 60.00 %  ■ 17.50 % (step 35)"),
            (38, "step 35  ● 15.00 % (step 30)  ■ 17.50 %"),
        ):
            chart.view.cursor = at
            chart.changed()
            await pilot.pause()
            assert chart.readout() == wanted


async def test_the_comparison_is_written_to_a_new_file_only(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_comparison(["k7m2qx", "q4r8st", "p2b9dz"])
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 3)
        taken = tmp_path / "taken.csv"
        taken.write_text("mine")
        for name in ("out.csv", "out.json", "out.txt", "taken.csv", "no/such/folder.csv"):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(
            pilot, lambda: sum("Written to" in note.message for note in app._notifications) == 2
        )
        assert taken.read_text() == "mine"
        assert not (tmp_path / "out.txt").exists()
        with (tmp_path / "out.csv").open(newline="") as file:
            table = list(csv.reader(file))
        changes = ["q4r8st - k7m2qx", "p2b9dz - k7m2qx"]
        assert table[0] == ["part", "name", "k7m2qx", "q4r8st", "p2b9dz", *changes]
        assert ["setting", "moco.queue_size", "4096", "16384", "", "", ""] in table
        data = json.loads((tmp_path / "out.json").read_text())
        assert [run["id"] for run in data["runs"]] == ["k7m2qx", "q4r8st", "p2b9dz"]
        assert data["config"]["moco.queue_size"] == [4096, 16384, None]


async def test_eight_runs_and_a_damaged_one(root: Path, make_app: MakeApp) -> None:
    for i in range(8):
        write_run(root, f"r{i}bcdf", name=f"run {i}", steps=20 + i)
    (root / "r3bcdf" / "run.json").write_text("{")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_comparison([f"r{i}bcdf" for i in range(8)])
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 8)
        marks = [curve.mark for curve in app.screen.query_one(Chart).curves]
        assert len(set(marks)) == 8
        await pilot.resize_terminal(20, 5)
        await pilot.resize_terminal(160, 45)
        await until(pilot, lambda: "(unreadable)" in screen_text(app))


async def test_runs_without_a_metric_say_so(root: Path, make_app: MakeApp) -> None:
    for run_id in ("k7m2qx", "q4r8st"):
        write_run(root, run_id)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: "no run has measured anything yet" in screen_text(app))
        assert "reading" not in screen_text(app)


async def test_a_first_metric_that_comes_while_one_looks_is_drawn(
    root: Path, make_app: MakeApp
) -> None:
    folders = [write_run(root, run_id) for run_id in ("k7m2qx", "q4r8st")]
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: "no run has measured anything yet" in screen_text(app))
        for folder in folders:
            with folder.metrics_path.open("ab") as log:
                log.write(encode_line(1, 0.5, NOW, {"train/loss": 9.0}))
        await until(pilot, lambda: "train/loss" in screen_text(app))


async def test_where_the_runs_came_from_stands_below_the_settings(
    root: Path, make_app: MakeApp
) -> None:
    for run, commit in (("k7m2qx", "a" * 40), ("q4r8st", "b" * 40)):
        part = ProvenancePart(step=0, time=1.0, values={"program.commit": commit})
        write_run(root, run, steps=3, provenance=[part])
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_comparison(["k7m2qx", "q4r8st"])
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 2)
        assert [line.split() for line in lines(app, "settings")[-4:]] == [
            ["all", "settings", "are", "the", "same"],
            [],
            ["where", "they", "came", "from"],
            ["program.commit", "a" * 12, "b" * 12],
        ]
