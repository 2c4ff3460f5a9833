"""The dry run of a whole pretraining, beside what the pretraining then does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import engine
from engine.config.schema import PretrainConfig
from engine.jobs.run_estimate import run_estimate
from moco_tui.widgets.estimate_panel import estimate_text

SETTINGS = {
    "data.limit": 100,
    "optim.batch_size": 25,
    "optim.epochs": 5,
    "moco.queue_size": 50,
    "model.bn_splits": 5,
    "monitor.knn_every": 2,
    "log.keep_every": 2,
    "runtime.threads": 1,
}


def config(more: dict[str, object]) -> PretrainConfig:
    return engine.pretrain_config("quick", SETTINGS | more)


def test_it_counts_what_the_run_will_do(tmp_path: Path) -> None:
    """Of five epochs every second is evaluated and kept, and the last is evaluated."""
    facts = run_estimate(config({}), data_dir=tmp_path / "data", steps=1)
    run = engine.Workspace(tmp_path / "runs", tmp_path / "data").pretrain(config({}))
    values = run.metrics()["knn/top1"]
    assert facts["knn_passes"] == sum(not math.isnan(value) for value in values)
    held = [run.path / "checkpoint.pt", *(run.path / "checkpoints").glob("*.pt")]
    assert len(held) == 4  # the last, the best, and those of epochs 2 and 4
    held.append(run.path / "metrics.jsonl")
    real = sum(path.stat().st_size for path in held)
    assert facts["disk_bytes"] == pytest.approx(real, rel=0.05)
    assert not list((tmp_path / "data").glob(".estimate-*"))


def test_the_whole_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    facts = run_estimate(config({}), data_dir=tmp_path, steps=1)
    parts = facts["seconds_total"] + facts["knn_passes"] * facts["seconds_knn"]
    parts += facts["checkpoints"] * facts["seconds_checkpoint"]
    assert facts["seconds_run"] == pytest.approx(parts)
    assert facts["seconds_knn"] > 0
    assert facts["seconds_checkpoint"] > 0
    text = estimate_text(facts)
    assert "with kNN: 4," in text
    assert "with checkpoints: 4," in text


def test_what_is_not_done_costs_nothing(tmp_path: Path) -> None:
    none = config({"monitor.knn_every": 0, "log.keep_every": 0})
    facts = run_estimate(none, data_dir=tmp_path, steps=1)
    assert facts["knn_passes"] == facts["seconds_knn"] == 0
    assert facts["checkpoints"] == 1
    assert "kNN" not in estimate_text(facts)
