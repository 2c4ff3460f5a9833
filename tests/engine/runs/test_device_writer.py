"""Writing the history of the devices: whole lines, bounded, whatever happens to the file."""

from __future__ import annotations

import errno
import itertools
import math
import os
from pathlib import Path

import pytest

from engine.runs import device_writer
from engine.runs.device_lines import (
    DeviceLine,
    DeviceOthers,
    DevicePart,
    DeviceSample,
    encode_line_of,
)
from engine.runs.device_log import DeviceLog
from engine.runs.device_writer import DeviceWriter, decoded, thinned, within

from ...machine_loads import others_of

PART = DevicePart(1.7e9, 10.0, ("cpu", "memory"))
NAN = math.nan


def sample(at: float, cpu: float = 5.0, memory: float = 7.0) -> DeviceSample:
    return DeviceSample(at, [cpu, memory])


def read(path: Path) -> DeviceLog:
    log = DeviceLog(path)
    log.poll()
    return log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "devices.jsonl"


def begun(path: Path, most_bytes: int = 1 << 20, part: DevicePart = PART) -> DeviceWriter:
    writer = DeviceWriter(path, most_bytes)
    writer.begin(part._replace(factor=writer.factor))
    return writer


def test_the_part_stands_before_its_samples_once(path: Path) -> None:
    writer = begun(path)
    writer.append([sample(1)])
    writer.append([sample(2)])
    assert decoded(path.read_bytes()) == [PART, sample(1), sample(2)]
    begun(path, part=PART._replace(began=1.8e9)).append([sample(1)])
    assert len(decoded(path.read_bytes())) == 5


def test_half_a_line_of_a_killed_process_is_cut_off(path: Path) -> None:
    begun(path).append([sample(1)])
    for cut in range(1, len(encode_line_of(sample(1)))):
        with path.open("ab") as file:
            file.write(encode_line_of(sample(2))[:-cut])
        begun(path).append([sample(3)])
        log = read(path)
        assert log.skipped == 0
        assert log.newest("cpu") == 5.0


@pytest.mark.parametrize("what", ["removed", "emptied", "replaced", "cut", "written into"])
def test_a_file_that_others_touch_is_begun_anew(path: Path, what: str) -> None:
    writer = begun(path)
    for at in range(5):
        writer.append([sample(at)])
    whole = path.read_bytes()
    if what == "removed":
        path.unlink()
    elif what == "emptied":
        path.write_bytes(b"")
    elif what == "replaced":
        path.unlink()
        path.write_bytes(b"somebody else's\nfile")
    elif what == "cut":
        path.write_bytes(whole[:-7])
    else:
        path.write_bytes(whole + b"a line\n")
    writer.append([sample(5, cpu=77.0)])
    writer.append([sample(6, cpu=78.0)])
    log = read(path)
    assert log.newest("cpu") == 78.0
    assert log.series("cpu")[1][-2] == 77.0


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_what_is_no_plain_file_is_refused(path: Path, tmp_path: Path, kind: str) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    if kind == "link":
        path.symlink_to(mine)
    elif kind == "hard link":
        path.hardlink_to(mine)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    writer = begun(path)
    with pytest.raises(OSError):  # noqa: PT011 - of one number or another
        writer.append([sample(1)])
    assert mine.read_bytes() == b"mine"


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = begun(path)
    writer.append([sample(1)])
    before = path.read_bytes()

    def half(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(device_writer, "write_all", half)
        with pytest.raises(OSError, match="full"):
            writer.append([sample(2)])
    assert path.read_bytes() == before
    writer.append([sample(3)])
    assert decoded(path.read_bytes()) == [PART, sample(1), sample(3)]


def test_a_file_that_is_far_too_large_is_left_alone(path: Path) -> None:
    path.write_bytes(b"x\n" * 3000)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        begun(path, 2000).append([sample(1)])
    assert path.stat().st_size == 6000


def test_however_long_a_run_takes_its_history_stays_small(path: Path) -> None:
    """A run of 10,000 intervals, whose writer takes as many samples as it is told to."""
    most = 4000
    writer = begun(path, most)
    at, taken = 0.0, 0
    while at < 100_000:
        writer.append([sample(at, cpu=at / 1000, memory=1000 + at)])
        assert path.stat().st_size <= 2 * most
        at, taken = at + 10.0 * writer.factor, taken + 1
    assert writer.factor in (16, 32, 64, 128)
    assert taken < 2000
    log = read(path)
    assert log.skipped == 0
    seconds, cpu = log.series("cpu")
    assert 60 < len(seconds) < 400
    # Evenly spread, over the whole of it, without a gap, and with what was there.
    steps = [b - a for a, b in itertools.pairwise(seconds)]
    assert max(steps) <= 2.5 * 10.0 * writer.factor
    assert seconds[-1] > 99_000
    assert not any(map(math.isnan, cpu))
    assert cpu[-1] == pytest.approx(100, rel=0.05)
    # The memory is the larger one of those that became one: that of the later moment.
    memory = log.series("memory")[1]
    assert all(m == pytest.approx(1000 + s) for s, m in zip(seconds, memory, strict=True))


def test_a_run_that_goes_on_takes_samples_as_far_apart_as_before(path: Path) -> None:
    writer = begun(path, 4000)
    at = 0.0
    while writer.factor < 4:
        writer.append([sample(at)])
        at += 10.0
    later = DeviceWriter(path, 4000)
    assert later.factor == 4
    assert DeviceWriter(path.with_name("none")).factor == 1
    path.write_bytes(b"{}\n")
    assert DeviceWriter(path).factor == 1


def test_two_samples_become_one() -> None:
    other = PART._replace(began=1.8e9)
    lines: list[DeviceLine] = [
        *(PART, sample(1, 10, 100), sample(2, 20, 50), sample(3, NAN, 1), sample(4, 7, NAN)),
        *(sample(5, 1, 1), other._replace(began=1.75e9), other, sample(1, 4, 3)),
    ]
    assert thinned(lines) == [
        PART._replace(every=20.0, factor=2),
        sample(2, 15, 100),  # the mean of shares, the most of bytes
        sample(4, 7, 1),
        sample(5, 1, 1),
        other._replace(every=20.0, factor=2),  # a part without samples is left out
        sample(1, 4, 3),
    ]


def test_of_many_changes_of_processes_the_newest_stay() -> None:
    lines: list[DeviceLine] = [PART, *(others_of(at) for at in range(1000))]
    kept = [line for line in thinned(lines) if isinstance(line, DeviceOthers)]
    assert [line.seconds for line in kept] == list(range(800, 1000))


def test_the_oldest_parts_go_first() -> None:
    """A run that is resumed thousands of times has parts that cannot be thinned out."""
    lines = [line for k in range(500) for line in (PART._replace(began=1.7e9 + k), sample(1))]
    kept = within(lines, 4000)
    assert sum(len(encode_line_of(line)) for line in kept) <= 5000
    assert kept == lines[-len(kept) :]
    assert isinstance(kept[0], DevicePart)
    assert within(lines[-2:], 1) == lines[-2:]
