"""The table of epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.metrics import METRICS, Metric
from engine.runs.metric_writer import encode_line, void_line
from moco_tui.present.epoch_table import epoch_lines, epoch_stamp

from ..conftest import NOW, write_run


def texts(log: object, per_epoch: int = 10) -> list[str]:
    return [line[0][0] for line in epoch_lines(log, per_epoch)]  # type: ignore[arg-type]


def test_a_line_for_each_epoch_and_what_was_measured_in_it(root: Path) -> None:
    folder = write_run(root, "k7m2qx")
    lines = [encode_line(0, 0.0, NOW, {"knn/top1": 30.0})]  # of the untrained encoder
    for step in range(1, 31):
        values = {"train/loss": 9.0, "train/lr": 0.06}
        if step % 10 == 0:
            values["train/epoch_loss"] = 10.0 - step / 10
        lines.append(encode_line(step, step / 10, NOW + step, values))
    lines.append(encode_line(20, 2.0, NOW + 20, {"knn/top1": 41.25}))
    folder.metrics_path.write_bytes(b"".join(lines))
    log = folder.metrics()
    log.poll()
    assert texts(log) == [
        " epoch     loss     kNN       lr     time",
        "     3    7.000           0.0600     10 s",
        "     2    8.000  41.2 %   0.0600     10 s",
        "     1    9.000           0.0600         ",
    ]


def test_an_epoch_takes_the_time_in_which_it_was_trained(root: Path) -> None:
    """10 s an epoch; a stop of an hour in the second one, whose last 3 steps are trained again."""
    folder = write_run(root, "k7m2qx")
    lines, time = [], NOW

    def epoch_steps(first: int, last: int) -> None:
        nonlocal time
        for step in range(first, last + 1):
            time += 1
            name = "train/epoch_loss" if step % 10 == 0 else "train/loss"
            lines.append(encode_line(step, step / 10, time, {name: 9.0}))

    epoch_steps(1, 18)
    time += 3600
    lines.append(void_line(15, time))
    epoch_steps(16, 30)
    folder.metrics_path.write_bytes(b"".join(lines))
    log = folder.metrics()
    log.poll()
    assert [line.split()[-1 - (line.split()[-1] == "s") :] for line in texts(log)[1:]] == [
        ["10", "s"],
        ["10", "s"],
        ["9.000"],
    ]


def test_the_stamp_changes_with_an_epoch_and_not_with_a_step(root: Path) -> None:
    folder = write_run(root, "k7m2qx", steps=25)
    log = folder.metrics()
    log.poll()
    stamp = epoch_stamp(log, 10)

    def told(step: int, name: str, value: float) -> tuple[object, ...]:
        with folder.metrics_path.open("ab") as file:
            file.write(encode_line(step, step / 10, NOW, {name: value}))
        log.poll()
        return epoch_stamp(log, 10)

    assert told(26, "train/lr", 0.05) == stamp
    assert told(26, "train/loss", 8.0) == stamp
    assert told(20, "knn/top1", 80.0) != stamp
    stamp = epoch_stamp(log, 10)
    assert told(30, "train/epoch_loss", float("nan")) != stamp
    assert epoch_stamp(log, 10) == epoch_stamp(log, 10)
    assert epoch_stamp(log, 10) != epoch_stamp(log, 5)


def test_one_more_metric_has_a_column(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Metric(name="train/drift", direction=-1, column="drift", decimals=2)
    monkeypatch.setitem(METRICS, entry.name, entry)
    folder = write_run(root, "k7m2qx", steps=10)
    with folder.metrics_path.open("ab") as file:
        file.write(encode_line(10, 1.0, NOW, {"train/drift": 0.125}))
    log = folder.metrics()
    log.poll()
    head, line = texts(log)
    assert head.split() == ["epoch", "loss", "kNN", "drift", "lr", "time"]
    assert line.split()[-2] == "0.12"


def test_the_online_probe_has_a_column_where_there_is_one(root: Path) -> None:
    folder = write_run(root, "k7m2qx", steps=10)
    log = folder.metrics()
    log.poll()
    assert "online" not in texts(log)[0]
    stamp = epoch_stamp(log, 10)
    with folder.metrics_path.open("ab") as file:
        file.write(encode_line(10, 1.0, NOW, {"online/top1": 41.25, "online/train_top1": 40.0}))
    log.poll()
    assert epoch_stamp(log, 10) != stamp
    head, line = texts(log)
    assert head.split() == ["epoch", "loss", "kNN", "online", "lr", "time"]
    assert "41.2 %" in line
    assert "40.0" not in line
