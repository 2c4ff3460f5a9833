"""The pace of a run and the time left."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.runs import MetricLog, Record
from engine.runs.metric_writer import encode_line, void_line
from moco_tui.present.pace import RunPace, pace_texts, run_pace, steps_per_second


def log_of(path: Path, moments: list[tuple[int, float]], name: str = "train/loss") -> MetricLog:
    path.write_bytes(b"".join(encode_line(s, 0.0, t, {name: 1.0}) for s, t in moments))
    log = MetricLog(path)
    log.poll()
    return log


def test_the_rate_is_that_of_the_last_half_minute(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert steps_per_second(MetricLog(path)) is None
    # A slow hour, a pause of a day, then two steps a second for two minutes.
    moments = [(s, 60.0 * s) for s in range(1, 61)]
    moments += [(60 + s, 90_000.0 + s / 2) for s in range(1, 241)]
    log = log_of(path, moments)
    assert steps_per_second(log) == pytest.approx(2.0)
    assert steps_per_second(log, window=1e9) == pytest.approx(299 / (90_120.0 - 60.0))


@pytest.mark.parametrize("since", [2, 10, 29, 31, 200])
def test_a_long_pause_never_counts(tmp_path: Path, since: int) -> None:
    """However many seconds ago the run went on: the window ends at the pause."""
    moments = [(s, s / 10) for s in range(1, 1000)]
    moments += [(1000 + s, 5000.0 + s / 10) for s in range(10 * since + 1)]
    log = log_of(tmp_path / "metrics.jsonl", moments)
    assert steps_per_second(log) == pytest.approx(10.0)


def test_a_short_pause_is_forgotten_after_half_a_minute(tmp_path: Path) -> None:
    moments = [(s, float(s)) for s in range(1, 100)]
    moments += [(100 + s, 120.0 + s) for s in range(32)]  # a pause of 20 s
    assert steps_per_second(log_of(tmp_path / "m.jsonl", moments)) == pytest.approx(1.0)


@pytest.mark.parametrize("pause", [3.0, 20.0, 420.0])
def test_no_pause_or_stop_counts_from_the_second_step_after_it(
    tmp_path: Path, pause: float
) -> None:
    """The log says when the run went on; a stop of seven minutes was once read as 1 pairs/s."""
    path = tmp_path / "metrics.jsonl"
    lines = [encode_line(s, 0.0, s / 2, {"train/loss": 1.0}) for s in range(1, 101)]
    lines.append(void_line(90, 50.0 + pause))  # the last checkpoint was at step 90
    path.write_bytes(b"".join(lines))
    log = MetricLog(path)
    log.poll()
    assert steps_per_second(log) is None
    # Its first step takes 5 s, since it has to get ready.
    for done in range(1, 6):
        time = 50.0 + pause + 5 + (done - 1) / 2
        with path.open("ab") as file:
            file.write(encode_line(90 + done, 0.0, time, {"train/loss": 1.0}))
        log.poll()
        rate = steps_per_second(log)
        assert rate is None if done == 1 else rate == pytest.approx(2.0)


def test_slow_steps_and_a_clock_that_was_set_back(tmp_path: Path) -> None:
    slow = log_of(tmp_path / "slow.jsonl", [(1, 0.0), (2, 100.0), (3, 250.0)])
    assert steps_per_second(slow) == pytest.approx(1 / 150)
    moments = [(s, 1000.0 + s) for s in range(10)] + [(10 + s, 500.0 + s / 2) for s in range(10)]
    assert steps_per_second(log_of(tmp_path / "back.jsonl", moments)) == pytest.approx(2.0)
    assert steps_per_second(log_of(tmp_path / "one.jsonl", [(1, 0.0)])) is None


def record_of(**changes: object) -> Record:
    known = {"id": "k", "kind": "pretrain", "created": 0.0, "step": 60, "total_steps": 100}
    return Record(**(known | changes))  # type: ignore[arg-type]


def test_only_a_run_that_trains_has_a_pace(tmp_path: Path) -> None:
    log = log_of(tmp_path / "m.jsonl", [(s, s / 4) for s in range(1, 61)])
    pace = run_pace(record_of(pairs_per_step=256), "running", log)
    assert pace_texts(pace) == ["1,024 pairs/s", "ETA 10 s"]
    assert pace_texts(run_pace(record_of(), "running", log)) == ["4.00 steps/s", "ETA 10 s"]
    assert pace_texts(run_pace(record_of(total_steps=0), "running", log)) == ["4.00 steps/s"]
    assert pace_texts(run_pace(record_of(step=100), "running", log)) == ["4.00 steps/s"]
    for status in ("paused", "queued", "finished", "lost"):
        assert run_pace(record_of(), status, log) == RunPace()
    assert run_pace(record_of(kind="study"), "running", log) == RunPace()


def test_a_run_that_goes_on_has_no_pace_before_its_first_step(tmp_path: Path) -> None:
    log = log_of(tmp_path / "m.jsonl", [(s, s / 4) for s in range(1, 61)])
    assert run_pace(record_of(running_since=0.0), "running", log).steps_per_second == 4.0
    assert run_pace(record_of(running_since=300.0), "running", log) == RunPace()


def test_a_probe_has_a_pace_too(tmp_path: Path) -> None:
    moments = [(s, s / 4) for s in range(1, 61)]
    log = log_of(tmp_path / "m.jsonl", moments, "probe/pretrained/loss")
    assert steps_per_second(log) == pytest.approx(4.0)
