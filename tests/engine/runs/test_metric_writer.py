"""Writing the metric log: whole lines, whatever happens to the disk or the process."""

from __future__ import annotations

import os
from collections.abc import Callable
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


def rows_of(first: int, last: int) -> bytes:
    return b"".join(encode_line(s, 0.0, 0.0, {"a": float(s)}) for s in range(first, last + 1))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"somebody's\n")
    other.replace(path)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_link(path: Path) -> None:
    path.unlink()
    (path.parent / "paper.tex").write_bytes(b"mine")
    path.symlink_to("paper.tex")


TAKEN: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "replaced": _replace,
    "folder": _as_folder,
    "pipe": _as_pipe,
    "link": _as_link,
}


@pytest.mark.parametrize("how", TAKEN)
def test_a_file_that_lost_its_name_is_written_again_whole(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricWriter(path)
    writer.append(rows_of(1, 3))
    for turn in (1, 2):
        TAKEN[how](path)
        writer.append(rows_of(3 + turn, 3 + turn))
        assert path.read_bytes() == rows_of(1, 3 + turn)
        assert path.is_file()
        assert not path.is_symlink()
    (told,) = writer.notices
    assert f"was {'removed' if how == 'removed' else 'replaced'} while the run was" in told
    writer.close()
    kept = list(tmp_path.glob("metrics.jsonl.other-*"))
    assert len(kept) == (0 if how == "removed" else 2), "what was put there is not lost"
    if how == "replaced":
        assert {path.read_bytes() for path in kept} == {b"somebody's\n"}
    if how == "link":
        assert (tmp_path / "paper.tex").read_bytes() == b"mine"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("how", ["cut short", "overwritten", "emptied and written"])
def test_lines_that_are_gone_are_an_error_each_time(tmp_path: Path, how: str) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricWriter(path)
    writer.append(rows_of(1, 30))
    if how == "cut short":
        os.truncate(path, 100)
    else:
        path.write_bytes(rows_of(101, 160 if how == "overwritten" else 102))
    left = path.read_bytes()
    words = "overwritten" if how == "overwritten" else "cut short"
    for _ in range(2):
        with pytest.raises(LogError, match=f"was {words} by another program") as caught:
            writer.append(rows_of(31, 32))
        assert caught.value.written == 0
    assert path.read_bytes() == left
    writer.close()
    again = MetricWriter(path)  # as a resume does
    again.append(rows_of(5, 6))
    again.close()
    log = MetricLog(path)
    log.poll()
    assert list(log.series("a")[0])[-1] >= 6
    assert log.skipped == 0


def test_lines_of_others_are_kept_and_no_line_is_glued_to_them(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricWriter(path)
    writer.append(rows_of(1, 2))
    with path.open("ab") as other:
        other.write(b"no line end")
    writer.append(rows_of(3, 3))
    writer.append(rows_of(4, 4))
    writer.close()
    assert path.read_bytes() == rows_of(1, 2) + b"no line end\n" + rows_of(3, 4)
    (told,) = writer.notices
    assert "another program wrote into the metric log" in told


def test_looking_after_the_file_reads_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricWriter(path)
    writer.append(rows_of(1, 10_000))
    real, read = os.pread, [0]

    def pread(fd: int, count: int, at: int) -> bytes:
        data = real(fd, count, at)
        read[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", pread)
    for step in range(10_001, 10_101):
        writer.append(rows_of(step, step))
    assert read[0] <= 100 * 200
    writer.close()
