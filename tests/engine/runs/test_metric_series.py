"""A reader that keeps a bounded number of points: evenly spread, every one as it was written."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runs.metric_log import MetricLog
from engine.runs.metric_series import LATE_LIMIT, MetricSeries
from engine.runs.metric_writer import MetricWriter, encode_line, void_line

MOST = 16


def value(step: int) -> float:
    return random.Random(step).uniform(-1, 1)


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(st.integers(1, 70), min_size=1, max_size=12),
    gap=st.integers(1, 5),
)
def test_a_long_log_keeps_an_even_part(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[int], gap: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    log, writer, count = MetricLog(path, most=MOST), MetricWriter(path), 0
    for block in blocks:
        new = [gap * (count + i + 1) for i in range(block)]
        writer.append(b"".join(encode_line(s, s / 97, 10.0 + s, {"a": value(s)}) for s in new))
        count += block
        log.poll()
        steps, values = log.series("a")
        assert len(steps) <= MOST
        assert list(values) == [value(step) for step in steps]
        assert list(log.times("a")) == [10.0 + step for step in steps]
        assert list(log.epochs("a")) == [step / 97 for step in steps]
        assert steps[0] == gap  # the first stays
        assert log.last("a") == value(gap * count)  # the newest is known, kept or not
        strides = {b - a for a, b in itertools.pairwise(steps)}
        assert len(strides) <= 1
        stride = strides.pop() if strides else gap
        assert gap * count - steps[-1] < stride
        # No more is dropped than must be: at half the distance they would not have fitted.
        assert stride == gap or 2 * gap * count / stride > MOST
    writer.close()


def test_what_is_void_is_gone_kept_or_not(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log, writer = MetricLog(path, most=MOST), MetricWriter(path)

    def write(first: int, last: int, shift: float) -> None:
        lines = (encode_line(s, 0.0, 0.0, {"a": s + shift}) for s in range(first, last + 1))
        writer.append(b"".join(lines))
        log.poll()

    write(1, 101, 0.0)
    stride = log.series("a")[0][1] - log.series("a")[0][0]
    assert stride == 8
    for back in (99, 60, 3):
        writer.append(void_line(back, 0.0))
        log.poll()
        assert max(log.series("a")[0]) <= back
        last = log.last("a")
        assert last is not None
        assert last <= back
        write(back + 1, 103, 0.5)
        assert log.last("a") == 103.5
        for step, number in zip(*log.series("a"), strict=True):
            assert number == step + (0.5 if step > back else 0.0)
        writer.append(void_line(0, 0.0))
        log.poll()
        assert log.last("a") is None
        assert not log.series("a")[0]
        write(1, 101, 0.0)
    writer.close()


def test_descending_steps_are_refused_after_so_many() -> None:
    series = MetricSeries()
    kept = sum(series.put((step, 0.0, 0.0, 1.0)) for step in range(5000, 0, -1))
    assert kept == len(series.steps) == LATE_LIMIT + 1
    assert list(series.steps) == list(range(5000 - LATE_LIMIT, 5001))
    assert series.put((4500, 0.0, 0.0, 2.0)), "one that is there may change"
    assert series.put((6000, 0.0, 0.0, 2.0)), "and later ones may come"
