"""A few values of a long log: read at places, means of lines, voided steps left out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.runs.log_sample import sampled
from engine.runs.metric_writer import encode_line, void_line


def loss(row: Mapping[str, Any]) -> str:
    return "train/loss" if "train/loss" in row else ""


def test_a_short_log_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [encode_line(s, s, s, {"train/loss": 10.0 - s}) for s in range(1, 9)]
    lines.insert(3, encode_line(3, 3, 3, {"knn/top1": 40.0}))
    path.write_bytes(b"".join(lines) + b'{"step": 9, "train')
    assert sampled(path, loss) == (list(range(1, 9)), [10.0 - s for s in range(1, 9)])


def test_of_a_long_log_a_bounded_part_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    count = 40_000
    path.write_bytes(
        b"".join(encode_line(s, s, s, {"train/loss": 16 - s / 5000}) for s in range(1, count + 1))
    )
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return pread(fd, size, offset)

    monkeypatch.setattr("engine.runs.log_sample.os.pread", counted)
    steps, values = sampled(path, loss, 32)
    assert sum(read) <= 32 * 4096 < path.stat().st_size / 10
    assert len(steps) == 32
    assert steps == sorted(set(steps))
    assert steps[0] < 100
    assert steps[-1] == count, "the newest is among them"
    gaps = [b - a for a, b in itertools.pairwise(steps)]
    assert max(gaps) < 2 * count / 32
    # Each is the mean of a few lines up to its step: of a straight line a little above it.
    for step, value in zip(steps, values, strict=True):
        assert 16 - step / 5000 <= value <= 16 - step / 5000 + 0.01


def test_a_log_in_between_is_read_whole_and_thinned(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    losses = [10.0 + (s * 7919 % 13) for s in range(1, 401)]
    path.write_bytes(
        b"".join(encode_line(s, s, s, {"train/loss": v}) for s, v in enumerate(losses, 1))
    )
    steps, values = sampled(path, loss, 32)
    assert len(steps) <= 64
    assert steps[-1] == 400
    before = 0
    for step, value in zip(steps, values, strict=True):
        part = losses[before:step]
        assert value == pytest.approx(sum(part) / len(part))
        before = step


def test_what_a_resume_has_voided_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = [encode_line(s, s, s, {"train/loss": 9.0}) for s in range(1, 11)]
    again = [encode_line(s, s, s, {"train/loss": 5.0}) for s in range(5, 9)]
    path.write_bytes(b"".join([*first, void_line(4, 20.0), *again]))
    assert sampled(path, loss) == ([1, 2, 3, 4, 5, 6, 7, 8], [9.0] * 4 + [5.0] * 4)


def test_what_is_no_metric_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    odd = [b"nonsense\n", b"[1]\n", b'{"step": "x", "train/loss": 1}\n', b"\xff\xfe\n", b"{" * 3000]
    good = encode_line(7, 7, 7, {"train/loss": 3.5})
    path.write_bytes(
        b"".join([*odd[:4], good, odd[4], b"\n", b'{"step": 8, "train/loss": true}\n'])
    )
    assert sampled(path, loss) == ([7], [3.5])
    assert sampled(tmp_path / "gone", loss) == ([], [])
    os.mkfifo(tmp_path / "pipe")
    assert sampled(tmp_path / "pipe", loss) == ([], [])
    (tmp_path / "empty").write_bytes(b"")
    assert sampled(tmp_path / "empty", loss) == ([], [])


def test_the_first_metric_that_is_found_is_that_of_all_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [{"a/loss": 3.0}, {"b/loss": 90.0}, {"a/loss": 1.0}]
    path.write_bytes(b"".join(encode_line(s, s, s, row) for s, row in enumerate(rows, 1)))
    assert sampled(path, lambda row: next((n for n in row if "loss" in n), "")) == (
        [1, 3],
        [3.0, 1.0],
    )
