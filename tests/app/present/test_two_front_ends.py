"""The app and the commands, asked for the same runs, say the same."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.widgets import Static

from engine.config.metrics import METRICS, Metric
from engine.runs import RunFolder
from engine.runs.metric_writer import encode_line
from engine.runs.run_lock import RunLock
from moco_tui.app import MocoApp
from moco_tui.cli import main
from moco_tui.cli import watch as watch_command
from moco_tui.present import comparison, comparison_export
from moco_tui.present.run_columns import COLUMNS, GLYPH
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.run_table import RunTable
from moco_tui.widgets.text_panel import TextPanel

from ..conftest import RESULT, on_screen, until, write_run
from ..studies import write_study

MakeApp = Callable[..., MocoApp]
Call = Callable[..., str]

PROBES = {"p1bcdf": 0.1, "p2bcdf": 0.125, "p3bcdf": 0.001}
"""Probes of the first pretraining and the share of the labels that they use."""


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """What a command prints."""

    def call(*words: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["--runs-dir", str(root), *words])
        said = capsys.readouterr()
        assert left.value.code in (0, 130), said.err
        return said.out

    return call


@pytest.fixture
def runs(root: Path) -> Iterator[Path]:
    """A pretraining with probes, one on a folder of images, one that trains now, and a study."""
    now = time.time()
    write_run(root, "a1bcdf", name="first", steps=40, created=now - 7300)
    write_run(
        root,
        "b2bcdf",
        preset="notebook-large-queue",
        sets=("data.source=folder:/data/birds", "augment.flip.enabled=true"),
        steps=30,
        accuracy=48.0,
        created=now - 90_000,
        status="stopped",
    )
    for run_id, fraction in PROBES.items():
        write_run(
            root,
            run_id,
            kind="probe",
            sets=(f"label_fraction={fraction}",),
            parent="a1bcdf",
            created=now - 200,
            steps_per_epoch=0,
            last={"probe/pretrained/test_top1": 57.25, "probe/pixels/test_top1": 31.0},
            best={"probe/pretrained/test_top1": 57.25, "probe/pixels/test_top1": 31.0},
            result={**RESULT, "top1": 57.25},
        )
    write_study(root, pretrainings=1, probes=1, created=now - 500)
    live = write_run(
        root,
        "n4bcdf",
        status="running",
        created=now - 40,
        started=now - 30,
        ended=None,
        step=100,
        total_steps=300,
        last={"train/loss": 9.5, "train/lr": 0.06, "knn/top1": 43.21},
        best={"train/loss": 9.25, "knn/top1": 44.5},
    )
    # Ten steps a second, a pause of 45 s, then four steps a second for ten seconds.
    moments = [(s, now - 61 + s / 10) for s in range(1, 61)]
    moments += [(60 + s, now - 10 + s / 4) for s in range(1, 41)]
    lines = (encode_line(s, s / 10, t, {"train/loss": 9.5, "train/lr": 0.06}) for s, t in moments)
    live.metrics_path.write_bytes(b"".join(lines))
    lock = RunLock(live.lock_path)
    assert lock.acquire()
    yield root
    lock.release()


def tokens(text: str) -> list[str]:
    """The cells of a line of columns, which two spaces or more part."""
    return [cell for cell in re.split(r" {2,}", text.strip()) if cell]


async def test_the_table_of_runs(
    runs: Path, make_app: MakeApp, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()  # one moment for both: an age may change from one look to the next
    monkeypatch.setattr("moco_tui.cli.runs.time", SimpleNamespace(time=lambda: now))
    head, *lines = call("runs", "--sizes").splitlines()
    listed = {line.split()[0]: line for line in lines}
    known = {run["id"]: run for run in json.loads(call("runs", "--json"))}
    rows = {row["id"]: row for row in csv.DictReader(call("runs", "--csv").splitlines())}
    assert {"data", "K", "augment", "labels", "loss", "best", "age"} <= set(tokens(head))
    app = make_app()
    app.session.clock = lambda: now
    async with app.run_test(size=(200, 45)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == len(listed))
        shown = app.query_one(RunTable).rows
        # Nesting and order: newest first, probes under their pretraining.
        assert [(row.id, depth) for row, depth in shown] == [
            (line.split()[0], (len(line) - len(line.lstrip())) // 2) for line in lines
        ]
        assert {row.id for row, depth in shown if depth} >= set(PROBES)
        for row, _ in shown:
            cells = tokens(listed[row.id])
            for column in COLUMNS:
                if column.title in ("K|labels", GLYPH, "state", "name", "done", "task"):
                    continue
                text = column.text(row, now)
                assert not text or text in cells, f"{column.title} of {row.id}"
            assert row.status in cells
            run, line = known[row.id], rows[row.id]
            assert (run["data"], run["queue_size"]) == (row.source or None, row.queue)
            assert (" ".join(run["augmentations"]), run["label_fraction"]) == (
                row.augment,
                row.labels,
            )
            for value, text in ((row.last, "loss"), (row.top1, "top1"), (row.best, "best_top1")):
                assert line[text] == ("" if value is None else str(value)), text
    study = next(row for row, _ in shown if row.kind == "study")
    assert (study.data, study.source) == ("shapes", "shapes")
    assert "shapes" in tokens(listed[study.id])
    assert re.search(r"^data +shapes$", call("show", study.id), re.MULTILINE)
    assert "birds" in tokens(listed["b2bcdf"])
    assert "57.2 %" in tokens(listed["p1bcdf"])
    for run_id, text in zip(PROBES, ("10 %", "12.5 %", "0.1 %"), strict=True):
        assert text in tokens(listed[run_id])
    assert {"43.2 %", "44.5 %", "9.500"} <= set(tokens(listed["n4bcdf"]))
    assert "2 h" in tokens(listed["a1bcdf"])
    assert "1 d" in tokens(listed["b2bcdf"])


async def test_pace_and_time_left(
    runs: Path, make_app: MakeApp, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch_command, "_sleep", leave)
    line = call("watch", "n4bcdf")
    found = re.search(r"([\d,]+ pairs/s)  (ETA \S+ \S+)", line)
    assert found is not None, line
    facts = json.loads(call("watch", "n4bcdf", "--json"))
    assert facts["steps_per_second"] == pytest.approx(4.0)
    assert facts["pairs_per_second"] == pytest.approx(4.0 * 512)
    assert facts["eta_seconds"] == pytest.approx(50.0)
    app = make_app()
    app.session.clock = time.time
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("n4bcdf")
        await until(pilot, lambda: "ETA" in str(app.screen.query_one("#progress", Static).content))
        text = str(app.screen.query_one("#progress", Static).content)
        assert f"{found[1]}  {found[2]}" in text
        assert "lr 0.0600" in text
        assert "lr 0.0600" in line


async def test_settings_that_differ_and_what_is_better(
    runs: Path, make_app: MakeApp, call: Call
) -> None:
    ids = ["a1bcdf", "b2bcdf", "n4bcdf"]
    facts = json.loads(call("compare", *ids, "--json"))
    text = call("compare", *ids)
    app = make_app()
    async with app.run_test(size=(200, 60)) as pilot:
        app.open_comparison(ids)
        await until(pilot, lambda: len(app.screen.query_one(Chart).curves) == 3)
        panels = {
            name: [
                "".join(part for part, _ in line)
                for line in app.screen.query_one(place, TextPanel).lines
            ]
            for name, place in (("settings", "#settings"), ("metrics", "#metrics"))
        }
    assert [tokens(line)[0] for line in panels["settings"][1:]] == [
        key.removeprefix("augment.") for key in facts["config"]
    ]
    assert {"data.source", "moco.queue_size"} <= set(facts["config"])
    shown = " ".join(panels["metrics"])
    changes = 0
    newest = {row["metric"]: row["values"] for row in facts["metrics"] if row["value"] == "last"}
    for row in facts["metrics"]:
        words = {"last": "{}", "best": "best {}", "share": "{} of chance"}
        name = words[row["value"]].format(row["metric"])
        lines = [cells for cells in map(tokens, text.splitlines()) if cells[:1] == [name]]
        if row["value"] == "best" and row["values"] == newest[row["metric"]]:
            assert not lines, "it says nothing that the newest values do not"
            assert name not in shown
            continue
        (line,) = lines
        assert name in shown
        for cell in line[1:]:  # values, differences, and better or worse
            if cell not in ("-", "same"):
                assert cell in shown, f"{name}: {cell}"
                changes += cell in ("better", "worse")
    assert changes >= 2
    knn = [row for row in facts["metrics"] if row["metric"] == "knn/top1"]
    assert [row["verdicts"][1:] for row in knn] == [[None, "worse"], [None, "worse"]]
    assert [row["reasons"][1:] for row in knn] == [["other data", ""], ["other data", ""]]


async def test_both_export_the_same_comparison(runs: Path, make_app: MakeApp, call: Call) -> None:
    ids = ["a1bcdf", "p1bcdf"]
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_comparison(ids)
        await until(pilot, lambda: len(on_screen(app, CompareScreen).runs) == 2)
        found = comparison.side_by_side(on_screen(app, CompareScreen).runs)
    assert comparison_export.to_csv(found) == call("compare", *ids, "--csv")
    assert json.loads(comparison_export.to_json(found)) == json.loads(
        call("compare", *ids, "--json")
    )


async def test_one_more_metric_is_known_everywhere(
    root: Path, make_app: MakeApp, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric is one entry: drawn, shown, compared, filtered and sorted by."""
    name = "train/alignment"
    entry = Metric(
        name=name,
        title="alignment of the views",
        unit="mm",
        direction=-1,
        chart="loss",
        decimals=2,
        short="align",
    )

    def write(run_id: str, value: float) -> RunFolder:
        folder = write_run(root, run_id, steps=20, last={name: value, "train/loss": 9.0})
        with folder.metrics_path.open("ab") as file:
            for step in range(1, 21):
                file.write(encode_line(step, step / 10, 1.0, {name: value + 20 - step}))
        return folder

    write("a1bcdf", 3.0)
    write("b2bcdf", 1.5)

    async def drawn() -> list[str]:
        app = make_app()
        async with app.run_test(size=(120, 40)) as pilot:
            app.open_run("a1bcdf")
            await until(pilot, lambda: app.screen.query_one("#loss", Chart).curves)
            return [curve.name for curve in app.screen.query_one("#loss", Chart).curves]

    assert await drawn() == ["train/loss"], "not drawn before it is registered"
    assert "worse" not in call("compare", "b2bcdf", "a1bcdf")
    monkeypatch.setitem(METRICS, name, entry)
    assert await drawn() == ["train/loss", "alignment of the views"]
    assert "align 1.50 mm" in call("watch", "b2bcdf")
    assert "1.50 mm" in call("show", "b2bcdf")
    assert "+1.50 mm  worse" in call("compare", "b2bcdf", "a1bcdf")
    for key in ("alignment", name):
        found = json.loads(call("runs", "--json", "--filter", f"{key}<2"))
        assert [run["id"] for run in found] == ["b2bcdf"]
        order = json.loads(call("runs", "--json", "--sort", f"-{key}"))
        assert [run["id"] for run in order] == ["a1bcdf", "b2bcdf"]
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 2)
        await pilot.press("slash", *"alignment<2")
        await until(
            pilot, lambda: [row.id for row, _ in app.query_one(RunTable).rows] == ["b2bcdf"]
        )
        app.open_comparison(["b2bcdf", "a1bcdf"])
        await until(pilot, lambda: app.screen.query_one("#metrics", TextPanel).lines)
        lines = app.screen.query_one("#metrics", TextPanel).lines
        assert any("+1.50 mm worse" in part for line in lines for part, _ in line)
