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


@pytest.mark.parametrize(
    ("name", "full", "short"),
    [
        ("probe/pretrained/loss", "pretrained: loss", "pretrained"),
        (
            "probe/supervised/lr_0.1/validation_top1",
            "supervised, lr 0.1: validation top-1",
            "supervised, lr 0.1",
        ),
        ("knn/top1", "kNN top-1, withheld labels", "kNN"),
        ("mine/of_my_own", "mine/of_my_own", "mine/of_my_own"),
    ],
)
def test_curves_have_names_that_can_be_read(name: str, full: str, short: str) -> None:
    assert curves.curve_name(name) == full
    assert curves.short_name(name) == short


def test_a_name_of_a_file_reaches_no_terminal() -> None:
    hostile = "probe/\x1b[2J/\u202ex"
    assert curves.curve_name(hostile).isprintable()
    assert curves.short_name(hostile).isprintable()


def test_the_summary_is_the_value_that_stands_for_the_run_and_its_gain(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    rows = [
        (10, {"online/top1": 40.0, "embedding/rank": 90.0}),
        (0, {"knn/top1": 44.3, "embedding/rank": 100.0}),
        (10, {"knn/top1": 62.8}),
    ]
    path.write_bytes(b"".join(encode_line(step, step / 10, 1.0, row) for step, row in rows))
    log = MetricLog(path)
    log.poll()
    assert curves.summary(log, ["online/top1", "knn/top1"]) == "kNN 62.8 % (+18.5)"
    assert curves.summary(log, ["knn/top1"]) == "62.8 % (+18.5)"
    assert curves.summary(log, ["embedding/rank"]) == "90.0", "no gain: more is not better"
    assert curves.summary(log, ["embedding/rank", "contrast/gap"]) == "90.0"
    assert curves.summary(log, ["contrast/gap"]) == ""
    assert curves.unit_of(["knn/top1", "online/top1"]) == " %"
    assert curves.unit_of(["knn/top1", "embedding/rank"]) == ""
