"""Which metrics are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs import MetricLog
from engine.runs.metric_writer import encode_line
from moco_tui.present import curves


def log_of(path: Path, *names: str) -> MetricLog:
    path.write_bytes(encode_line(1, 0.1, 1.0, dict.fromkeys(names, 1.0)))
    log = MetricLog(path)
    log.poll()
    return log


@pytest.mark.parametrize(
    ("names", "losses", "title"),
    [
        (("train/loss", "train/epoch_loss", "mine/loss"), ["train/loss"], "loss"),
        (("mine/loss", "mine/validation_loss"), ["mine/loss"], "losses"),
        (
            ("probe/pixels/loss", "probe/pretrained/loss", "probe/pixels/validation_loss"),
            ["probe/pixels/loss", "probe/pretrained/loss"],
            "losses",
        ),
        (("train/lr",), [], "losses"),
    ],
)
def test_losses(tmp_path: Path, names: tuple[str, ...], losses: list[str], title: str) -> None:
    found = curves.losses(log_of(tmp_path / "m.jsonl", *names))
    assert sorted(found) == losses
    assert curves.loss_title(found) == title


def test_at_most_as_many_losses_as_can_be_told_apart(tmp_path: Path) -> None:
    log = log_of(tmp_path / "m.jsonl", *(f"mine{i}/loss" for i in range(20)))
    assert len(curves.losses(log)) == len(curves.MARKS)


def test_accuracies(tmp_path: Path) -> None:
    names = ("knn/top1", "mine/accuracy_of_cats", "train/loss", "probe/pixels/test_balanced")
    found = curves.accuracies(log_of(tmp_path / "m.jsonl", *names))
    assert found == ["knn/top1", "mine/accuracy_of_cats"]
    assert curves.accuracy_title(found) == "accuracy"
    assert curves.accuracy_title(found[:1]) == "kNN top-1, withheld labels"
