"""The curves of runs for the preview: thinned, read in parts, forgotten when others come."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.runs import MetricLog
from engine.runs.metric_writer import encode_line
from moco_tui.charts.mean_points import MeanPoints
from moco_tui.charts.run_curves import MOST_POINTS, MOST_RUNS, Plot, RunCurves
from moco_tui.present.preview_part import DrawnRun

from ..conftest import write_run


def long_log(root: Path, run_id: str, steps: int) -> None:
    folder = write_run(root, run_id)
    lines = (
        encode_line(step, step / 100, step, {"train/loss": 8 + 8 / (1 + step), "train/lr": 0.1})
        for step in range(1, steps + 1)
    )
    folder.metrics_path.write_bytes(b"".join(lines))


def test_a_long_log_is_read_in_parts_and_keeps_its_ends(root: Path) -> None:
    long_log(root, "k7m2qx", 20_000)
    curves, run = RunCurves(root), DrawnRun("k7m2qx", "long")
    looks = 1
    while not curves.read([run], seconds=0.0):
        looks += 1
    assert looks > 2, "one look does not read it all"
    (curve,) = curves.plots([run])[0].curves
    steps = list(curve.series.steps)
    assert MOST_POINTS // 2 <= len(steps) <= MOST_POINTS
    assert steps[0] == 1
    assert steps[-1] > 20_000 - 2 * 20_000 / len(steps)
    # Each is the value of its own step, however many were left out between.
    for step, value in zip(steps, curve.series.raw.values, strict=True):
        assert value == pytest.approx(8 + 8 / (1 + step))


def test_nobody_waits_for_a_run_that_is_left(root: Path) -> None:
    long_log(root, "k7m2qx", 20_000)
    curves, run = RunCurves(root), DrawnRun("k7m2qx", "long")
    curves.read([run], seconds=60.0, goes_on=lambda: False)
    assert curves.plots([run])[0].curves == [], "nothing was read"
    assert curves.read([run], seconds=60.0)
    assert len(curves.plots([run])[0].curves) == 1


def test_what_was_read_before_the_cursor_left_is_not_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_log(root, "k7m2qx", 20_000)
    curves, run = RunCurves(root), DrawnRun("k7m2qx", "long")
    assert not curves.read([run], seconds=0.0)
    opened: list[int] = []
    poll = MetricLog.poll

    def counted(self: MetricLog, most: int | None = None) -> bool:
        opened.append(self._offset)
        return poll(self, most)

    monkeypatch.setattr(MetricLog, "poll", counted)
    assert curves.read([run], seconds=60.0)
    assert opened[0] > 0


def test_few_runs_stay_in_memory_those_looked_at_last(root: Path) -> None:
    curves = RunCurves(root)
    for number in range(MOST_RUNS + 5):
        write_run(root, f"r{number:03}", steps=20)
        curves.read([DrawnRun(f"r{number:03}", "")])
    kept = [n for n in range(MOST_RUNS + 5) if curves.plots([DrawnRun(f"r{n:03}", "")])[0].curves]
    assert kept == list(range(5, MOST_RUNS + 5))


def test_marked_runs_have_the_curve_of_the_metric_that_most_have(root: Path) -> None:
    for run_id, name in (("a2bcdf", "knn/top1"), ("b2bcdf", "knn/top1"), ("c2bcdf", "online/top1")):
        folder = write_run(root, run_id)
        lines = [
            encode_line(step, step, step, {"train/loss": 9.0 - step, name: 40.0 + step})
            for step in (1, 2, 3)
        ]
        folder.metrics_path.write_bytes(b"".join(lines))
    runs = [DrawnRun(f"{x}2bcdf", x, place) for place, x in enumerate("abc")]
    curves = RunCurves(root)
    assert curves.read(runs)
    losses, accuracies = curves.plots(runs)
    assert [(curve.name, curve.mark) for curve in losses.curves] == [
        ("a", "●"),
        ("b", "■"),
        ("c", "▲"),
    ]
    assert [curve.name for curve in accuracies.curves] == ["a", "b"]
    assert (accuracies.title, accuracies.unit) == ("kNN top-1, withheld labels", " %")
    # The place of a mark, not that in the list, decides on it: it stands beside the run as well.
    last = curves.plots(runs[1:])[0].curves
    assert [curve.mark for curve in last] == ["■", "▲"]


def test_runs_of_other_seeds_are_a_mean_with_their_range(root: Path) -> None:
    values = {"a2bcdf": [9.0, 7.0, 5.0], "b2bcdf": [8.0, 7.5, 3.0], "c2bcdf": [7.0, 5.0]}
    for run_id, losses in values.items():
        folder = write_run(root, run_id)
        lines = [encode_line(s, s, s, {"train/loss": v}) for s, v in enumerate(losses, 1)]
        folder.metrics_path.write_bytes(b"".join(lines))
    group = DrawnRun("group", "K 64", 1, tuple(values))
    curves = RunCurves(root)
    assert curves.read([group])
    (curve,) = curves.plots([group])[0].curves
    assert isinstance(curve.series, MeanPoints)
    assert (curve.name, curve.mark, curve.band) == ("K 64, 2-3 seeds", "■", True)
    for index in range(3):
        at = [losses[index] for losses in values.values() if len(losses) > index]
        assert curve.series.value(index) == pytest.approx(math.fsum(at) / len(at))
        band = curve.series.column(index, index + 1, True).band
        assert band == (min(at), max(at))


def test_a_plot_of_few_points_is_none_where_more_are_asked_for(root: Path) -> None:
    write_run(root, "k7m2qx", steps=30)
    curves, run = RunCurves(root), DrawnRun("k7m2qx", "x")
    curves.read([run])
    accuracy: Plot = curves.plots([run])[1]
    assert len(accuracy.curves[0].series) == 3
    assert accuracy.of_many(3).curves
    assert not accuracy.of_many(4).curves
