"""The study screen: what it shows comes from the run folders, and every cell leads to its runs."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Input, OptionList

from engine.config.resolve import resolve
from engine.config.schema import StudyConfig
from engine.history.entry import Entry
from engine.history.history import History
from engine.runs import RunFolder, create, own
from engine.sink import Plan
from engine.study import grid
from engine.study.intervals import Estimate, ResultRow
from engine.study.study_state import CellResult, State, StudyState, Trained, state_from_history
from engine.study.table import Pivot, values
from moco_tui.app import MocoApp
from moco_tui.present import study_text as studytext
from moco_tui.present import study_view as studyview
from moco_tui.screens.cell_runs_dialog import CellRuns
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.screens.dialogs import Ask
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.screens.study_screen import StudyScreen
from moco_tui.training.runner import Runner
from moco_tui.widgets.label_chart import LabelChart
from moco_tui.widgets.run_table import RunTable
from moco_tui.widgets.study_table import StudyTable
from moco_tui.widgets.text_panel import TextPanel

from ..conftest import FakeTrainer, on_screen, screen_text, until, write_run
from ..studies import (
    FEW_SETS,
    SETS,
    few_labels_value,
    of_size,
    put,
    put_probe,
    some_value,
    write_study,
)
from ..test_real_engine import SMALL

MakeApp = Callable[..., MocoApp]
T_TWO_DEGREES = 4.302652729911275
"""Student's 97.5 % quantile for two degrees of freedom, from a printed table."""


def study(app: MocoApp) -> StudyScreen:
    screen = app.screen
    assert isinstance(screen, StudyScreen)
    return screen


def table(app: MocoApp) -> StudyTable:
    return study(app).query_one(StudyTable)


def was_said(app: MocoApp, words: str) -> bool:
    """Whether a notification says so."""
    return any(words in notification.message for notification in app._notifications)


def shown(app: MocoApp) -> bool:
    """Whether the study was read and drawn."""
    return study(app).snapshot is not None and bool(table(app).tables)


def line_of(app: MocoApp, label: str, after: str = "") -> str:
    """The first line of a panel that begins with a label, below another."""
    lines = [line.strip(" │") for line in screen_text(app).splitlines()]
    start = next((i for i, line in enumerate(lines) if line.startswith(after)), 0)
    return next(line for line in lines[start:] if line.startswith(label))


# ---------------------------------------------------------------------------- what is shown


async def test_means_and_intervals_are_those_of_the_seeds(root: Path, make_app: MakeApp) -> None:
    """Subset seeds averaged first, then Student's interval over three pretraining seeds."""
    config = write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        of_seeds = []
        for seed in config.seeds:
            cells = [
                some_value(grid.Cell("moco", "K 4096", seed, "ten", 0.1, "logistic", subset, 4096))
                for subset in config.subset_seeds
            ]
            of_seeds.append(sum(cells) / len(cells))
        middle = statistics.mean(of_seeds)
        half = T_TWO_DEGREES * statistics.stdev(of_seeds) / 3**0.5
        wanted = f"{middle:.1f} ({middle - half:.1f} - {middle + half:.1f})"
        assert wanted in line_of(app, "K 4096", after="ten, logistic")
        assert "✓ finished  two dictionaries" in screen_text(app)
        assert "100 %" in screen_text(app)
        assert f"{len(grid.cells(config))}/{len(grid.cells(config))} cells" in screen_text(app)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: f"{middle:.1f} ±{half:.1f}" in screen_text(app))
        pixels = line_of(app, "pixels", after="ten, logistic")
        assert "[" in pixels, "subset seeds alone give a range"
        assert "±" not in pixels


async def test_two_seeds_give_a_range_and_no_verdict(root: Path, make_app: MakeApp) -> None:
    write_study(root, sets=(*SETS, "seeds=[0, 1]"), pretrainings=4)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        assert "[" in line_of(app, "K 4096")
        assert "(" not in line_of(app, "K 4096")
        answer = study(app).query_one("#answer", TextPanel)
        await until(pilot, lambda: answer.lines)
        words = " ".join("".join(text for text, _ in line) for line in answer.lines)
        assert "no verdict" in words
        assert "protocol" in words


async def test_the_table_fills_in_cell_by_cell(root: Path, make_app: MakeApp) -> None:
    """Every state comes from run folders that other processes write."""
    config = resolve(StudyConfig, sets=SETS)
    folder = create(root, "study", config, name="live")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run(folder.id)
        await until(pilot, lambda: "Nothing is measured yet" in screen_text(app))
        assert "r starts it" in screen_text(app)
        assert "· missing" in line_of(app, "K 4096")
        encoder = create(root, "pretrain", grid.pretrain_config(config, of_size(config, 4096), 0))
        with own(encoder) as owner:
            owner.transition("running")
            owner.plan(Plan(total_steps=200))
            owner.metrics(30, 0.3, {"train/loss": 9.0})
            await until(pilot, lambda: "○ pretraining 15 %" in line_of(app, "K 4096"))
            await until(pilot, lambda: encoder.id in screen_text(app))
            owner.metrics(200, 2.0, {"train/loss": 8.0})
            owner.transition("finished")
        await until(pilot, lambda: "· missing" in line_of(app, "K 4096"))
        place = grid.probe_points(config)[0]
        probe = grid.probe_config(
            config, of_size(config, 4096), 0, grid.ProbePoint(place.task, 0.1, "logistic", 0)
        )
        run = create(root, "probe", probe, parent=encoder.id)
        with own(run) as owner:
            owner.transition("running")
            await until(pilot, lambda: "▸ running" in line_of(app, "K 4096"))
            owner.result({"encoder_step": 200})
            owner.metrics(1, 0.0, {"probe/pretrained/test_top1": 71.25})
            owner.transition("finished")
        await until(pilot, lambda: "{71.2} 1/6" in line_of(app, "K 4096"))
        assert "missing" in line_of(app, "K 16384")
        assert "about 71.25 % so far" in screen_text(app)


async def test_a_failed_cell_says_so_and_leads_to_its_run(root: Path, make_app: MakeApp) -> None:
    config = write_study(root, pretrainings=1, probes=0)
    place = grid.probe_points(config)[0]
    error = "The memory ran out."
    put_probe(
        root,
        "fl1bcd",
        config,
        of_size(config, 4096),
        0,
        place,
        "pt0bcd",
        last={},
        status="failed",
        error=error,
    )
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        assert "✗ failed" in line_of(app, "K 4096")
        assert "1 failed" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CellRuns))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await until(pilot, lambda: error in screen_text(app))


@pytest.mark.parametrize("size", [(160, 45), (80, 24)])
async def test_few_labels_stand_on_a_logarithmic_axis_with_the_crossing(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    config = write_study(root, sets=FEW_SETS, value=few_labels_value)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        await pilot.press("2")
        chart = study(app).query_one(LabelChart)
        await until(pilot, lambda: len(chart.curves) == 5)
        report = study(app).snapshot.report  # type: ignore[union-attr]
        text = screen_text(app)
        assert re.search(r"0\.1 % +1 % +10 % +50 %", text)
        places = [math.log10(100 * share) for share in config.label_fractions]
        assert list(chart.curves[0].series.steps) == pytest.approx(places)
        for curve, crossing in zip(chart.curves, report.crossings, strict=False):
            assert crossing.share is not None
            assert crossing.low is not None
            assert crossing.high is not None
            ((at, value, low, high),) = curve.across
            ends = (crossing.share, crossing.low, crossing.high)
            assert (at, low, high) == pytest.approx([math.log10(100 * end) for end in ends])
            # On the line between the measured shares around it.
            assert value == pytest.approx(np.interp(at, places, curve.series.raw.values))
            share, first, last = (f"{100 * end:.3g} %" for end in ends)
            assert f"beats scratch to {share} ({first} to {last})" in text
        assert [bool(curve.across) for curve in chart.curves] == [True, True, False, False, False]
        await pilot.press("left", "left", "left")  # values of one share: 50, 30 and 10 %
        await until(pilot, lambda: "values at 10 % of the labels" in screen_text(app))
        row = next(r for r in report.rows if (r.label, r.fraction) == ("K 4096", 0.1))
        assert row.estimate is not None
        assert f"MoCo, K 4,096 {row.estimate.mean:.1f}" in screen_text(app)
        assert "beats scratch to" not in screen_text(app), "the values take its place"
        await pilot.press("3")
        panel = study(app).query_one("#answer", TextPanel)
        lines = ["".join(part for part, _ in line) for line in studytext.answer_lines(report, 70)]
        start = next(i for i, line in enumerate(lines) if line.startswith("crossings: up to"))
        crossing = report.crossings[0]
        assert f"K 4096, ten, logistic: {crossing.share_text()}" in lines[start:]
        assert f"  {crossing.span_text()}, 3/3 seeds cross" in lines[start:]
        assert panel.display


async def test_the_curves_follow_the_cursor_and_are_named(root: Path, make_app: MakeApp) -> None:
    config = write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        chart = study(app).query_one(LabelChart)
        await until(pilot, lambda: len(chart.curves) == 5)
        text = screen_text(app)
        for name in (
            "MoCo, K 4,096",
            "MoCo, K 16,384",
            "random weights",
            "raw pixels",
            "supervised from scratch",
            "majority 60.0 %",
        ):
            assert name in text
        assert len({curve.mark for curve in chart.curves}) == 5
        row = next(row for row in study(app).snapshot.report.rows if row.label == "K 4096")  # type: ignore[union-attr]
        assert list(chart.curves[0].series.steps) == [10.0, 30.0, 50.0]
        assert chart.curves[0].series.raw.values[0] == pytest.approx(row.estimate.mean)  # type: ignore[union-attr]
        while "ten" not in str(table(app).place):
            await pilot.press("down")
        await until(pilot, lambda: "task ten" in chart.title)
        assert "majority 10.0 %" in screen_text(app)
        await pilot.press("2", "left", "left")
        await until(pilot, lambda: "values at 30 % of the labels" in screen_text(app))
        row = next(
            row
            for row in study(app).snapshot.report.rows  # type: ignore[union-attr]
            if (row.label, row.task, row.fraction) == ("K 4096", "ten", config.label_fractions[1])
        )
        assert f"MoCo, K 4,096 {row.estimate.mean:.1f} ±" in screen_text(app)  # type: ignore[union-attr]


def test_the_time_left_is_that_of_what_is_done() -> None:
    """Two pretrainings of 100 s and 4 probes of 10 s are missing."""
    sets = ("seeds=[0]", "tasks=['ten']", "heads=['logistic']", "label_fractions=[0.1]")
    config = resolve(StudyConfig, sets=(*sets, "queue_sizes=[1, 2, 3]", "subset_seeds=[0, 1]"))
    trained = {
        ("K 1", 0): Trained("a", "finished", 10, 10),
        ("K 2", 0): Trained("b", "running", 5, 10),
        ("K 3", 0): Trained("", "missing", 0, 0),
    }
    done, missing = CellResult("done", "p", 50.0), CellResult("missing", "")
    cells = {cell: done if cell.queue_size == 1 else missing for cell in grid.cells(config)}
    entries = {
        "a": Entry(id="a", started=1000.0, ended=1100.0),
        "b": Entry(id="b", started=1150.0),
        "p": Entry(id="p", started=1100.0, ended=1110.0),
    }
    scratch = [cell for cell in cells if cell.source == "supervised"]
    cells |= dict.fromkeys(scratch, done)
    left = studytext.time_left(StudyState(cells, trained), entries, 1200.0)
    assert left == "about 3 min 10 s left"
    fresh = dict.fromkeys(cells, missing)
    assert "then probes" in studytext.time_left(StudyState(fresh, trained), entries, 1200.0)
    # What has no pace is named, not left out in silence.
    cells[scratch[0]] = missing
    left = studytext.time_left(StudyState(cells, trained), entries, 1200.0)
    assert left == "about 3 min 10 s left and 1 training from scratch"
    ended = {at: Trained("a", "finished", 10, 10) for at in trained}
    only = {cell: missing if cell in scratch else done for cell in cells}
    left = studytext.time_left(StudyState(only, ended), entries, 1200.0)
    assert len(scratch) == 1
    assert left == "1 training from scratch left"
    assert studytext.time_left(StudyState(fresh, trained), {}, 1200.0) == ""


# ---------------------------------------------------------------------------- the slice


async def test_rows_and_columns_are_swapped_and_filtered(root: Path, make_app: MakeApp) -> None:
    write_study(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        assert "source by fraction" in screen_text(app)
        await pilot.press("down", "right")
        place = table(app).place
        assert place == {"source": "K 16384", "task": "binary", "fraction": 0.3, "head": "logistic"}
        value = table(app).current
        await pilot.press("Y")
        assert "fraction by source" in screen_text(app)
        assert (table(app).place, table(app).current) == (place, value)
        head = line_of(app, "binary, logistic")
        assert [name in head for name in ("K 4096", "K 16384", "pixels")] == [True] * 3
        await pilot.press("A")
        assert "only binary" in screen_text(app)
        assert "ten, logistic" not in screen_text(app)
        await pilot.press("A")
        assert "only ten" in screen_text(app)
        assert "binary, logistic" not in screen_text(app)
        await pilot.press("H", "C")
        assert "only 10 %" in screen_text(app)
        assert [t.row_keys for t in table(app).tables] == [(0.1,)]
        assert [t.column_keys for t in table(app).tables] == [("K 4096",)]
        await pilot.press("a", "V")
        assert "source by task" in screen_text(app)
        assert "all sources" in screen_text(app)


def test_filters_step_through_every_value_and_back_to_all() -> None:
    config = resolve(StudyConfig, sets=SETS)
    pivot = Pivot()
    seen = []
    for _ in range(len(values(config)["fraction"]) + 1):
        pivot = studyview.next_filter(config, pivot, "fraction")
        seen.append(pivot.keep.get("fraction"))
    assert seen == [(0.1,), (0.3,), (0.5,), None]
    assert studyview.next_filter(config, Pivot(), "head") == Pivot(), "one value is no choice"


def test_every_pair_of_dimensions_can_be_rows_and_columns() -> None:
    pivot, seen = Pivot(), set()
    for _ in studyview.PAIRS:
        for one in (pivot, studyview.swapped(pivot)):
            seen.add((one.row, one.column))
        pivot = studyview.next_pair(studyview.swapped(pivot))
    names = ("source", "task", "fraction", "head")
    assert seen == {(a, b) for a in names for b in names if a != b}


@pytest.mark.parametrize("width", [10, 11, 14, 18, 24, 30])
def test_a_cell_says_the_most_that_fits(width: int) -> None:
    interval = Estimate(57.31, 56.2, 58.4, 3, "interval")
    row = ResultRow("moco", "K 4096", "ten", 0.1, "linear", interval, None, 3, 3, 9, 9, (), "done")
    text, look = studyview.cell_shown(row, width, studyview.Progress())
    assert len(text) <= width
    assert text == ("57.3 (56.2 - 58.4)" if width >= 24 else "57.3 ±1.1")
    assert look == ""
    states: tuple[tuple[State, float | None, str], ...] = (
        ("missing", None, "· missing"),
        ("running", None, "▸ running"),
        ("failed", None, "✗ failed"),
        ("waiting", None, "○ waiting"),
        ("waiting", 0.03, "3 %"),
    )
    for state, share, words in states:
        empty = ResultRow("moco", "K 4096", "ten", 0.1, "linear", None, None, 0, 3, 0, 9, (), state)
        text, look = studyview.cell_shown(empty, width, studyview.Progress(share))
        assert words in text
        assert len(text) <= width
        assert look == state
    for stuck, look in (("failed", "failed"), ("lost", "failed"), ("stopped", "waiting")):
        waits = studyview.Progress(0.5, "", stuck)
        empty = ResultRow(
            "moco", "K 4096", "ten", 0.1, "linear", None, None, 0, 3, 0, 9, (), "waiting"
        )
        text, shown_as = studyview.cell_shown(empty, width, waits)
        assert stuck in text
        assert shown_as == look


# ---------------------------------------------------------------------------- ways in and out


async def test_enter_offers_every_run_of_a_cell(root: Path, make_app: MakeApp) -> None:
    write_study(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CellRuns))
        prompts = [str(option.prompt) for option in app.screen.query_one(OptionList).options]
        assert len(prompts) == 3 * 2 + 3, "three seeds of two subsets, and three pretrainings"
        first = some_value(grid.Cell("moco", "K 4096", 0, "binary", 0.1, "logistic", 0, 4096))
        assert f"{first:.2f} %" in prompts[0]
        assert "seed 0  subset 0" in prompts[0]
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CellRuns))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        config = on_screen(app, MonitorScreen).folder.record().config
        assert (config["subset_seed"], config["runtime"]["seed"]) == (1, 0)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_enter_on_a_cell_without_a_run_says_so(root: Path, make_app: MakeApp) -> None:
    write_study(root, pretrainings=0)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: any("no run" in n.message for n in app._notifications))
        assert isinstance(app.screen, StudyScreen)


async def test_the_ways_to_a_study(root: Path, make_app: MakeApp) -> None:
    write_study(root, pretrainings=0)
    write_study(root, "n2w3st", pretrainings=0, name="the newest", created=2e9)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 2)
        await pilot.press("S")
        await until(pilot, lambda: shown(app))
        assert study(app).folder.id == "n2w3st"
        await pilot.press("escape", "end", "enter")
        await until(pilot, lambda: shown(app))
        assert study(app).folder.id == "s5t6dy"


async def test_without_a_study_the_key_opens_the_form(root: Path, make_app: MakeApp) -> None:
    write_run(root, "k7m2qx", steps=5)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))


async def test_a_study_is_not_compared_or_probed(root: Path, make_app: MakeApp) -> None:
    write_study(root, pretrainings=1, probes=0)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 2)
        app.query_one(RunTable).select("s5t6dy")
        await pilot.press("P")
        await until(pilot, lambda: any("is a study" in n.message for n in app._notifications))
        app.open_comparison(["s5t6dy", "pt0bcd"])
        await until(pilot, lambda: any("s5t6dy: a study" in n.message for n in app._notifications))
        assert not isinstance(app.screen, CompareScreen)


# ---------------------------------------------------------------------------- requests


async def test_states_change_only_when_the_trainer_has_acknowledged(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    trainer = FakeTrainer()
    runner = Runner(tmp_path, execute=trainer)
    app = make_app(runner=runner)
    folder = create(root, "study", resolve(StudyConfig, sets=SETS), name="live")
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run(folder.id)
        await until(pilot, lambda: shown(app))
        await pilot.press("r")
        await until(pilot, lambda: study(app).status == "running")
        trainer.answers.clear()
        await pilot.press("p")
        await until(pilot, lambda: "pausing ..." in screen_text(app))
        assert study(app).status == "running", "not yet acknowledged"
        trainer.answers.set()
        await until(pilot, lambda: "‖ paused" in screen_text(app))
        await pilot.press("p")
        await until(pilot, lambda: "▸ running" in screen_text(app))
        await pilot.press("K")
        await until(pilot, lambda: folder.record().checkpoint_step)
        await pilot.press("s", "y")
        await until(pilot, lambda: "■ stopped" in screen_text(app))
        await until(pilot, lambda: runner.join(0))
    assert trainer.outcomes == ["stopped"]


async def test_export_writes_new_files_only_and_tells_where(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    config = write_study(root, pretrainings=3)
    app = make_app()
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        for name, answer in (
            ("out.csv", f"Written to {tmp_path / 'out.csv'}"),
            ("out.json", f"Written to {tmp_path / 'out.json'}"),
            ("out.md", f"Written to {tmp_path / 'out.md'}"),
            ("out.txt", "must end in"),
            ("taken.csv", "already there"),
            ("pipe.csv", "already there"),
            ("link.csv", "already there"),
            ("zero.csv", "already there"),
            ("folder.csv", "already there"),
            ("no/folder.csv", f"There is no folder {tmp_path / 'no'}"),
            ("taken.csv/below.csv", "a file stands where a folder should be"),
        ):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, partial(was_said, app, answer))
            await until(pilot, lambda: isinstance(app.screen, StudyScreen))
    assert taken.read_text() == "mine"
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "nowhere").exists()
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(grid.cells(config))
    done = [row for row in rows if row["state"] == "done" and row["source"] == "moco"]
    cell = grid.Cell("moco", "K 4096", 0, "binary", 0.1, "logistic", 0, 4096)
    assert float(done[0]["top1"]) == some_value(cell)
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["cells_total"] == len(rows)
    assert "K 16384" in (tmp_path / "out.md").read_text()


# ---------------------------------------------------------------------------- when things go wrong


async def test_the_folder_deleted_under_the_screen(root: Path, make_app: MakeApp) -> None:
    write_study(root, status="running", pretrainings=2)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        shutil.rmtree(root / "pb0x00")
        shutil.rmtree(root / "s5t6dy")
        await until(pilot, lambda: "The run folder is gone" in screen_text(app))
        await pilot.press("p", "s", "K", "r", "Y", "A", "2", "3", "4", "5", "1", "x", "escape")
        await until(pilot, lambda: isinstance(app.screen, StudyScreen))
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_probe_deleted_under_the_screen_is_missing_again(
    root: Path, make_app: MakeApp
) -> None:
    write_study(root, pretrainings=1, probes=1)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: "1/6" in line_of(app, "K 4096"))
        shutil.rmtree(root / "pb0x00")
        await until(pilot, lambda: "· missing" in line_of(app, "K 4096"))


@pytest.mark.parametrize("damage", [b"", b"{", b'{"kind": "study", "config": {"seeds": "x"}}'])
async def test_a_damaged_record_is_a_message(root: Path, make_app: MakeApp, damage: bytes) -> None:
    config = resolve(StudyConfig, sets=SETS)
    put(root, "s5t6dy", "study", config)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 1)
        (root / "s5t6dy" / "run.json").write_bytes(damage)
        app.push_screen(StudyScreen(app.session, RunFolder(root / "s5t6dy")))
        await until(pilot, lambda: app._notifications)
        await pilot.press("Y", "A", "enter", "x", "3", "p", "r", "escape")
        await until(pilot, lambda: not isinstance(app.screen, StudyScreen))


async def test_a_probe_whose_settings_make_no_sense_counts_for_nothing(
    root: Path, make_app: MakeApp
) -> None:
    """It is damaged; the rest of the study is shown all the same."""
    write_study(root, pretrainings=1, probes=1)
    record = json.loads((root / "pb0x00" / "run.json").read_text())
    record["config"]["baselines"] = 5
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        assert "0/126 cells" not in screen_text(app)
        (root / "pb0x00" / "run.json").write_text(json.dumps(record))
        await until(pilot, lambda: "0/126 cells" in screen_text(app))
        await pilot.press("Y", "A", "enter", "2")
        assert app.is_running


@pytest.mark.parametrize("size", [(20, 5), (2, 2), (220, 60)])
async def test_the_study_survives_any_size(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    write_study(root, pretrainings=3, probes=2, status="stopped")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        await pilot.resize_terminal(*size)
        await pilot.press("right", "end", "Y", "pagedown", "2", "left", "3", "1", "home")
        await pilot.resize_terminal(80, 24)
        await until(
            pilot, lambda: isinstance(app.screen, StudyScreen) and "K 4096" in screen_text(app)
        )


async def test_many_columns_scroll_with_the_cursor(root: Path, make_app: MakeApp) -> None:
    shares = ", ".join(f"{0.05 * i:.2f}" for i in range(1, 16))
    config = write_study(root, sets=(*SETS[1:], f"label_fractions=[{shares}]"), pretrainings=0)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        assert "75 %" not in line_of(app, "binary")
        for _ in config.label_fractions:
            await pilot.press("right")
        assert table(app).place["fraction"] == config.label_fractions[-1]  # type: ignore[index]
        await until(pilot, lambda: "75 %" in line_of(app, "binary"))
        assert "◂" in line_of(app, "binary")


async def test_any_name_is_shown_as_text(root: Path, make_app: MakeApp) -> None:
    name = "[bold]x[/bold]\x1b[31m"
    groups = '{"[red]a" = ["circle"], "b" = ["square"]}'
    sets = (*SETS[2:], "label_fractions=[0.1]", "tasks=['[b]t']", f"probe.task.groups={groups}")
    write_study(root, sets=sets, pretrainings=0, name=name, error=name, status="failed")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        text = screen_text(app)
        assert "[bold]x[/bold]" in text
        assert "[b]t" in text
        await pilot.press("enter", "3")
        await until(pilot, lambda: "Nothing is measured" in screen_text(app))
        assert all(ord(c) >= 32 or c == "\n" for c in text + screen_text(app))


async def test_plain_terminals_see_letters_for_marks(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCO_TUI_ASCII", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app))
        chart = study(app).query_one(LabelChart)
        await until(pilot, lambda: len(chart.curves) == 5)
        assert [curve.mark for curve in chart.curves] == list("ABCDE")


async def test_hidden_screens_look_at_nothing(root: Path, make_app: MakeApp) -> None:
    write_study(root, pretrainings=1)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run("s5t6dy")
        await until(pilot, lambda: shown(app) and study(app)._timer is not None)
        below = study(app)
        app.open_run("pt0bcd")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await until(pilot, lambda: below._timer is None and not below._polling)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is below and below._timer is not None)


# ---------------------------------------------------------------------------- the real engine


@pytest.mark.timeout(900)
async def test_a_study_is_computed_here_stopped_and_gone_on_with(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    # Long enough that a stop, asked for as soon as it shows, meets it before its end.
    small = {**SMALL, "data.source": "shapes", "data.limit": 96, "optim.epochs": 40}
    small["monitor.knn_every"] = 0
    sets = [f"pretrain.{key}={value}" for key, value in small.items() if "queue_size" not in key]
    grid_sets = (
        "queue_sizes=[128, 256]",
        "seeds=[0]",
        "label_fractions=[1.0]",
        "tasks=['ten']",
        "heads=['logistic']",
        "subset_seeds=[0]",
        "baselines=[]",
        "probe.logistic.l2=[0.1]",
        "probe.runtime.threads=1",
        "probe.runtime.device=cpu",
    )
    config = resolve(StudyConfig, sets=(*sets, *grid_sets))
    folder = create(root, "study", config, name="small")
    app = make_app(runner=Runner(tmp_path / "data"))
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run(folder.id)
        await until(pilot, lambda: "0/2 cells" in screen_text(app))
        await pilot.press("r")
        await until(pilot, lambda: "▸ running" in screen_text(app), seconds=400)
        await pilot.press("s", "y")
        await until(pilot, lambda: "■ stopped" in screen_text(app), seconds=400)
        await until(pilot, lambda: app.session.runner.active is None)
        await pilot.press("r")
        await until(pilot, lambda: "✓ finished" in screen_text(app), seconds=400)
        await until(pilot, lambda: "2/2 cells" in screen_text(app))
        assert "2/2 pretrainings" in screen_text(app)
        written = next(
            found.top1
            for cell, found in state_from_history(config, History(root)).cells.items()
            if (cell.source, cell.queue_size, cell.fraction) == ("moco", 128, 1.0)
        )
        assert f"{written:.1f}" in line_of(app, "K 128")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CellRuns))
        assert app.session.runner.join(60)
