"""Runs written in other formats, to stdout or to where the person says."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

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
