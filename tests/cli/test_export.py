"""Runs written in other formats, to stdout or to where the person says."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from ..machine_loads import write_history
from .conftest import Call, trained


def test_csv_goes_to_stdout(call: Call, root: Path) -> None:
    folder = trained(root, losses=(12.0, math.nan, 10.5))
    called = call("export", folder.id)
    assert (called.code, called.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(called.out)))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert [row["train/loss"] for row in rows] == ["12.0", "NaN", "10.5"]
    assert [row["knn/top1"] for row in rows] == ["", "", "40.0"]


def test_json_goes_to_stdout_or_a_file(call: Call, root: Path, tmp_path: Path) -> None:
    folder = trained(root, name="名前😀")
    out = call("export", folder.id, "--format", "json").out
    assert json.loads(out)["run"]["name"] == "名前😀"
    assert json.loads(out)["metrics"]["train/loss"]["value"] == [12.0, 11.0, 10.5]
    target = tmp_path / "deep" / "run.json"
    called = call("export", folder.id, "--format", "json", "--out", str(target))
    assert (called.code, called.out) == (0, "")
    assert str(target) in called.err
    assert json.loads(target.read_text()) == json.loads(out)
    assert call("export", folder.id, "--format", "json", "--out", "-").out == out


def test_a_target_that_cannot_be_written_is_a_sentence(
    call: Call, root: Path, tmp_path: Path
) -> None:
    folder = trained(root)
    for format_ in ("csv", "json", "tensorboard"):
        (tmp_path / "file").write_text("mine")
        target = str(tmp_path / "file" / "below")
        called = call("export", folder.id, "--format", format_, "--out", target)
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert call("export", folder.id, "--out", str(tmp_path)).code == 2


def test_event_files_hold_the_tags_of_the_notebook(call: Call, root: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = trained(root)
    called = call("export", folder.id, "--format", "tensorboard")
    assert (called.code, called.out) == (0, "")
    target = tmp_path / "tensorboard" / folder.id
    events = accumulator.EventAccumulator(str(target))
    events.Reload()
    points = [(e.step, e.value) for e in events.Scalars("Loss/train_batch")]
    assert points == [(1, 12.0), (2, 11.0), (3, 10.5)]
    # A second export would draw every curve twice.
    called = call("export", folder.id, "--format", "tensorboard")
    assert called.code == 2
    assert "--out" in called.err
    assert len(list(target.iterdir())) == 1


def test_the_history_of_the_devices_is_a_table_of_its_own(
    call: Call, root: Path, tmp_path: Path
) -> None:
    folder = trained(root)
    write_history(folder.devices_path, [0.0, 0.5], began=1.7e9)
    write_history(folder.devices_path, [1.0], began=1.7e9 + 100, cards=0)
    called = call("export", folder.id, "--format", "devices")
    assert (called.code, called.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(called.out)))
    assert [(row["seconds"], row["time"]) for row in rows] == [
        ("1", "1700000001"),
        ("11", "1700000011"),
        ("101", "1700000101"),
    ]
    assert [row["cpu (%)"] for row in rows] == ["0", "50", "100"]
    assert [row["card0/power (W)"] for row in rows] == ["100", "300", ""]
    assert rows[1]["card0/memory (B)"] == str(9 * 2**29)
    assert rows[1]["card0/others"] == "1"
    target = tmp_path / "devices.csv"
    assert call("export", folder.id, "--format", "devices", "--out", str(target)).code == 0
    assert target.read_text() == called.out


def test_a_run_without_a_history_of_the_devices_has_nothing_to_export(
    call: Call, root: Path, tmp_path: Path
) -> None:
    folder = trained(root)
    for more in ((), ("--out", str(tmp_path / "x.csv"))):
        called = call("export", folder.id, "--format", "devices", *more)
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
        assert "Nothing was recorded of the devices of run" in called.err
        assert "log.device_seconds" in called.err
    assert not (tmp_path / "x.csv").exists()
