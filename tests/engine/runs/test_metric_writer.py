"""Writing the metric log: whole lines, whatever happens to the disk or the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.runs.metric_log import MetricLog
from engine.runs.metric_writer import LogError, MetricWriter, encode_line


def test_reserved_names_are_refused() -> None:
    for name in ("step", "epoch", "time", "void_after"):
        with pytest.raises(ValueError, match="cannot be called"):
            encode_line(1, 0.0, 0.0, {name: 1.0})


@pytest.mark.parametrize("tail", [b'{"step": 3, "epo', b"\0" * 10_000, b"x"])
def test_a_half_line_of_a_killed_writer_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = encode_line(1, 0.0, 0.0, {"a": 1.0}) + encode_line(2, 0.0, 0.0, {"a": 2.0})
    path.write_bytes(whole + tail)
    writer = MetricWriter(path)
    writer.append(encode_line(3, 0.0, 0.0, {"a": 3.0}), sync=True)
    writer.close()
    assert writer.repaired == len(tail)
    assert path.read_bytes() == whole + encode_line(3, 0.0, 0.0, {"a": 3.0})


def test_a_file_that_is_one_half_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step"')
    writer = MetricWriter(path)
    writer.append(b"", sync=True)
    writer.close()
    assert path.read_bytes() == b""


def test_a_disk_that_takes_half_a_block_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricWriter(path)
    rows = [encode_line(s, 0.0, 0.0, {"a": float(s)}) for s in range(1, 6)]
    writer.append(rows[0])
    room = [len(rows[1]) + len(rows[2]) + 5]
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = real(fd, bytes(data)[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(LogError, match="the disk is full") as caught:
        writer.append(b"".join(rows[1:]))
    assert path.read_bytes() == b"".join(rows[:3])
    assert caught.value.written == len(rows[1]) + len(rows[2])
    monkeypatch.undo()
    writer.append(b"".join(rows[1:])[caught.value.written :])
    writer.close()
    assert path.read_bytes() == b"".join(rows)


def test_a_folder_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written: it is gone\."):
        MetricWriter(tmp_path / "no" / "metrics.jsonl").append(b"x\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        MetricLog(tmp_path / "folder").poll()
