"""Metrics as columns: every value at its step, NaN where nothing was measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.api.columns import columns, curve
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.runs import MetricLog, create, own


@pytest.fixture
def log(tmp_path: Path) -> MetricLog:
    folder = create(tmp_path, "pretrain", PretrainConfig())
    with own(folder) as owner:
        owner.transition("running")
        owner.metrics(0, 0.0, {"knn/top1": 10.0})
        owner.metrics(1, 0.5, {"train/loss": 3.0})
        owner.metrics(2, 1.0, {"train/loss": math.nan, "knn/top1": 20.0})
        owner.metrics(4, 2.0, {"train/loss": math.inf})
    found = folder.metrics()
    found.poll()
    return found


def test_all_metrics_stand_beside_each_other(log: MetricLog) -> None:
    table = columns(log)
    np.testing.assert_array_equal(table["step"], [0, 1, 2, 4])
    np.testing.assert_array_equal(table["epoch"], [0.0, 0.5, 1.0, 2.0])
    np.testing.assert_array_equal(table["train/loss"], [math.nan, 3.0, math.nan, math.inf])
    np.testing.assert_array_equal(table["knn/top1"], [10.0, math.nan, 20.0, math.nan])
    assert np.isfinite(table["time"]).all()
    assert {name: column.dtype.name for name, column in table.items()} == {
        "step": "int64", "epoch": "float64", "time": "float64", "knn/top1": "float64",
        "train/loss": "float64",
    }  # fmt: skip


def test_a_curve_has_its_own_steps_and_is_a_copy(log: MetricLog) -> None:
    found = curve(log, "knn/top1")
    np.testing.assert_array_equal(found["step"], [0, 2])
    np.testing.assert_array_equal(found["value"], [10.0, 20.0])
    found["value"][:] = 0.0
    np.testing.assert_array_equal(curve(log, "knn/top1")["value"], [10.0, 20.0])


def test_a_metric_that_is_not_there_is_a_sentence(log: MetricLog, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no loss; it has measured knn/top1, train/loss\."):
        curve(log, "loss")
    with pytest.raises(RunError, match="nothing yet"):
        curve(MetricLog(tmp_path / "none"), "loss")


def test_a_run_that_has_measured_nothing_has_empty_columns(tmp_path: Path) -> None:
    table = columns(MetricLog(tmp_path / "none"))
    assert list(table) == ["step", "epoch", "time"]
    assert all(len(column) == 0 for column in table.values())
