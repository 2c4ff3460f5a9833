"""Exports: what other programs read is what was measured."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs import export as exports
from engine.runs.export import TensorBoardSink, export, to_csv, to_json, with_events
from engine.sink import NullSink, Plan, Tee

CURVE = {
    1: {"train/loss": 9.5, "train/lr": 0.06},
    2: {"train/loss": math.nan, "train/lr": 0.05},
    3: {"train/loss": math.inf, "train/lr": 0.04, "train/epoch_loss": 7.25, "knn/top1": 41.0},
    7: {"knn/top1": 42.5},
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = create(tmp_path / "runs", "pretrain", PretrainConfig(), name="a,b")
    with own(folder) as owner:
        owner.transition("running")
        for step, values in CURVE.items():
            owner.metrics(step, step / 3, values)
        owner.metrics(9, 3.0, {"train/loss": 1.0})
        owner.resume_at(7)
        owner.transition("finished")
    folder.set_user(tags=["t"], note="n")
    return folder


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def test_csv_has_a_row_a_step_and_empty_cells_where_nothing_was_measured(run: RunFolder) -> None:
    rows = list(csv.DictReader(io.StringIO("".join(to_csv(run)))))
    assert [int(row["step"]) for row in rows] == list(CURVE)
    assert list(rows[0])[:3] == ["step", "epoch", "time"]
    for row in rows:
        values = CURVE[int(row["step"])]
        assert float(row["epoch"]) == int(row["step"]) / 3
        assert float(row["time"]) > 1e9
        for name in ("train/loss", "train/lr", "train/epoch_loss", "knn/top1"):
            if name in values:
                assert same(float(row[name]), values[name])
            else:
                assert row[name] == ""


def test_json_is_strict_and_holds_record_notes_and_curves(run: RunFolder) -> None:
    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    document = json.loads(to_json(run), parse_constant=no_constants)
    assert document["run"]["id"] == run.id
    assert document["run"]["config"]["moco"]["queue_size"] == 4096
    assert document["user"]["tags"] == ["t"]
    curve = document["metrics"]["train/loss"]
    assert curve["step"] == [1, 2, 3]
    assert curve["value"] == [9.5, "NaN", "Infinity"]
    assert document["metrics"]["knn/top1"]["value"] == [41.0, 42.5]


def test_files_are_written_where_they_were_wanted(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export(run, "csv") == Path(f"{run.id}.csv")
    assert Path(f"{run.id}.csv").read_text() == "".join(to_csv(run))
    target = tmp_path / "new" / "out.json"
    assert export(run, "json", target) == target
    assert target.read_bytes() == to_json(run)


def test_what_cannot_be_exported_is_a_sentence(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="must be one of csv, json, tensorboard"):
        export(run, "xml")
    (tmp_path / "file").write_text("")
    for format_ in ("csv", "json", "tensorboard"):
        with pytest.raises(RunError, match="cannot be written"):
            export(run, format_, tmp_path / "file" / "x")
    run.record_path.write_text("garbage")
    with pytest.raises(RunError, match="damaged"):
        export(run, "csv", tmp_path / "x.csv")


def test_a_run_without_metrics_can_be_exported(tmp_path: Path) -> None:
    folder = create(tmp_path, "pretrain", PretrainConfig())
    assert "".join(to_csv(folder)) == "step,epoch,time\n"
    assert json.loads(to_json(folder))["metrics"] == {}


# -------------------------------------------------------------------------------- TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = loading.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags: list[str] = accumulator.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def expected(curve: dict[int, dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    tags = {"train/loss": "Loss/train_batch", "train/epoch_loss": "Loss/train_epoch"}
    out: dict[str, list[tuple[int, float]]] = {}
    for step, values in curve.items():
        for name, value in values.items():
            out.setdefault(tags.get(name, name), []).append((step, value))
    return out


def check(found: dict[str, list[tuple[int, float]]], curve: dict[int, dict[str, float]]) -> None:
    wanted = expected(curve)
    assert set(found) == set(wanted)
    for tag, points in wanted.items():
        assert [s for s, _ in found[tag]] == [s for s, _ in points]
        for (_, a), (_, b) in zip(found[tag], points, strict=True):
            assert same(a, b) or a == pytest.approx(b, rel=1e-6)  # event files are float32


def test_tensorboard_reads_the_events_with_the_tags_of_the_notebook(
    run: RunFolder, tmp_path: Path
) -> None:
    folder = export(run, "tensorboard", tmp_path / "events")
    check(scalars(folder), CURVE)


def test_an_export_that_fails_leaves_no_events_that_lack_steps(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    real = exports._EventFile.add

    def full(self: Any, step: int, seconds: float, values: Any) -> None:
        if step == 3:
            raise RunError("the disk is full")
        real(self, step, seconds, values)

    with monkeypatch.context() as patch:
        patch.setattr(exports._EventFile, "add", full)
        with pytest.raises(RunError, match="the disk is full"):
            export(run, "tensorboard", tmp_path / "events")
    assert list((tmp_path / "events").iterdir()) == []
    check(scalars(export(run, "tensorboard", tmp_path / "events")), CURVE)


def test_events_written_live_are_those_of_the_training(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink(tmp_path / "tb")
    tee = Tee([sink])
    tee.plan(Plan(total_steps=10))
    for step, values in CURVE.items():
        tee.metrics(step, step / 3, values)
        tee.checkpointed(step)
        check(scalars(tmp_path / "tb"), {s: v for s, v in CURVE.items() if s <= step})
    sink.close()


def test_events_hold_every_step_of_a_checkpoint_before_it_is_written(tmp_path: Path) -> None:
    """Whatever kills the process after it: a resumed training does not come to these again."""
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink(tmp_path / "tb")
    sink.plan(Plan(total_steps=10))
    curve: dict[int, dict[str, float]] = {}
    for step in range(1, 7):
        curve[step] = {"train/loss": float(step)}
        sink.metrics(step, 0.0, curve[step])
        if step % 3 == 0:
            sink.progress("checkpoint", 0, 1)
            check(scalars(tmp_path / "tb"), curve)
            sink.progress("checkpoint", 1, 1)
    del sink  # killed: nothing is closed


def test_the_switch_of_the_configuration_adds_events_beside_the_sink(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    heard: list[int] = []

    class Ear(NullSink):
        def metrics(self, step: int, epoch: float, values: Any) -> None:
            heard.append(step)

        def request(self) -> Any:
            return "stop"

    ear = Ear()
    with with_events(ear, None) as sink:
        assert sink is ear
    with with_events(ear, tmp_path / "tb") as sink:
        sink.metrics(1, 0.0, {"train/loss": 2.0})
        assert sink.request() == "stop"
    assert heard == [1]
    check(scalars(tmp_path / "tb"), {1: {"train/loss": 2.0}})


def test_a_resumed_training_forgets_what_it_trains_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    first = TensorBoardSink(tmp_path / "tb")
    first.plan(Plan(total_steps=10))
    for step in range(1, 9):
        first.metrics(step, 0.0, {"train/loss": 1.0})
    first.close()
    second = TensorBoardSink(tmp_path / "tb")
    second.plan(Plan(total_steps=10, start_step=5))
    for step in range(6, 8):
        second.metrics(step, 0.0, {"train/loss": 2.0})
    second.close()
    curve = {s: {"train/loss": 1.0 if s < 6 else 2.0} for s in range(1, 8)}
    check(scalars(tmp_path / "tb"), curve)


def test_numbers_beyond_single_precision_do_not_break_the_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink(tmp_path / "tb")
    sink.metrics(1, 0.0, {"a": 1e300, "b": -1e300, "c": 1e-300})
    sink.close()
    assert {t: p[0][1] for t, p in scalars(tmp_path / "tb").items()} == {
        "a": math.inf,
        "b": -math.inf,
        "c": 0.0,
    }


def test_a_missing_tensorboard_names_the_extra(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.startswith("tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(RunError, match=r"pip install 'moco-tui\[tensorboard\]'"):
        export(run, "tensorboard", tmp_path / "tb")
    with pytest.raises(RunError, match=r"moco-tui\[tensorboard\]"):
        TensorBoardSink(tmp_path / "tb")
    assert not (tmp_path / "tb").exists()


def test_a_full_disk_under_the_live_events_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    sink = TensorBoardSink(tmp_path / "tb")

    def full(data: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sink._file._records, "write", full)
    with pytest.raises(RunError, match="the disk is full"):
        sink.metrics(1, 0.0, {"a": 1.0})
    assert exports.FORMATS == ("csv", "json", "tensorboard", "devices")


@pytest.mark.parametrize("hours", [-87_660, -1, 0, 1, 87_660])
def test_later_events_stand_behind_earlier_ones_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """TensorBoard goes through the files in the order of their names, and never back."""
    pytest.importorskip("tensorboard")
    start = 1_700_000_000 * 10**9
    (tmp_path / f"events.out.tfevents.{'9' * 20}.box.1").touch()
    names = []
    for at in (start, start + hours * 3600 * 10**9, start):
        monkeypatch.setattr(time, "time_ns", lambda at=at: at)
        before = set(tmp_path.iterdir())
        exports._EventFile(tmp_path, follow=True).close()
        (made,) = set(tmp_path.iterdir()) - before
        names.append(made.name)
    assert names == sorted(names)


def test_event_files_of_a_run_do_not_follow_a_link_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tensorboard").symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match="it is a link"):
        TensorBoardSink(tmp_path / "run" / "tensorboard")
    assert list((tmp_path / "mine").iterdir()) == []


def test_csv_names_the_commit_that_computed_each_step_where_that_is_known(run: RunFolder) -> None:
    assert "commit" not in next(iter(to_csv(run)))
    with own(run) as owner:
        owner.note_provenance(0, {"program.commit": "a"}, {})
        owner.note_provenance(2, {"program.commit": "b"}, {})
    rows = list(csv.DictReader(io.StringIO("".join(to_csv(run)))))
    assert [(row["step"], row["commit"]) for row in rows] == [
        ("1", "a"), ("2", "a"), ("3", "b"), ("7", "b"),
    ]  # fmt: skip
    document = json.loads(to_json(run))
    assert [part["values"] for part in document["run"]["provenance"]] == [
        {"program.commit": "a"}, {"program.commit": "b"},
    ]  # fmt: skip
