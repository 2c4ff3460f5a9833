"""Reading the history of the devices: as it grows, over pauses, from files that others prepared."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.machine.device_series import column_names
from engine.runs.device_lines import DevicePart, DeviceSample, encode_line_of
from engine.runs.device_log import (
    MOST_GAP,
    MOST_LINES,
    MOST_VALUES,
    READ_BYTES,
    DeviceLog,
)
from engine.runs.device_writer import MOST_BYTES

from ...machine_loads import GIB, read_history, write_history

BEGAN = 1.7e9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "devices.jsonl"


def add(path: Path, *lines: DevicePart | DeviceSample) -> None:
    with path.open("ab") as file:
        file.write(b"".join(map(encode_line_of, lines)))


def part(began: float = BEGAN, *columns: str) -> DevicePart:
    return DevicePart(began, 10.0, columns or ("cpu",))


def test_nothing_was_recorded(path: Path) -> None:
    log = DeviceLog(path)
    assert not log.poll()
    assert log.is_empty
    assert (log.names(), log.last("cpu"), log.summary("cpu"), log.part) == ([], None, None, None)
    assert list(log.rows()) == []


def test_every_series_is_there_by_its_name(path: Path) -> None:
    write_history(path, [0.0, 0.5, 1.0], began=BEGAN)
    log = read_history(path)
    assert log.names() == column_names(1)
    seconds, cpu = log.series("cpu")
    assert (list(seconds), list(cpu)) == ([1.0, 11.0, 21.0], [0.0, 50.0, 100.0])
    assert list(log.times) == [BEGAN + 1, BEGAN + 11, BEGAN + 21]
    assert log.summary("card0/power") == (300.0, 500.0, 500.0)
    assert (log.last("card0/temperature"), log.newest("card0/others")) == (60.0, 1.0)
    assert (log.most("memory"), log.most("cpu"), log.most("card0/power")) == (16 * GIB, 100.0, 700)
    assert log.most("card0/temperature") is None
    assert log.others == {0: [(77, "ann", GIB)]}
    assert log.part is not None
    assert list(log.part.cards) == ["NVIDIA H200"]
    rows = list(log.rows())
    assert rows[1][:2] == (11.0, BEGAN + 11)
    assert rows[1][2]["card0/own_memory"] == 4 * GIB


def test_it_is_followed_as_it_grows(path: Path) -> None:
    log = DeviceLog(path)
    add(path, part(), DeviceSample(1.0, [5.0]))
    assert log.poll()
    assert not log.poll()
    line = encode_line_of(DeviceSample(11.0, [6.0]))
    for cut in range(1, len(line)):  # the writer is within a line
        with path.open("ab") as file:
            file.write(line[cut - 1 : cut])
        assert not log.poll()
    with path.open("ab") as file:
        file.write(line[-1:])
    assert log.poll()
    assert list(log.series("cpu")[1]) == [5.0, 6.0]
    assert log.skipped == 0


@pytest.mark.parametrize("how", ["thinned out", "rewritten", "cut", "removed"])
def test_a_file_that_became_another_is_read_again(path: Path, how: str) -> None:
    add(path, part(), *(DeviceSample(float(at), [5.0]) for at in range(9)))
    log = read_history(path)
    if how == "thinned out":
        path.rename(path.with_name("old"))
        add(path, part(), *(DeviceSample(float(at), [6.0]) for at in range(12)))
    elif how == "rewritten":
        path.write_bytes(path.read_bytes().replace(b",5]", b",6]"))
    elif how == "cut":
        path.write_bytes(b"")
        add(path, part(), DeviceSample(1.0, [6.0]))
    else:
        path.unlink()
    assert log.poll()
    assert log.last("cpu") == (None if how == "removed" else 6.0)
    assert 5.0 not in log.series("cpu")[1]


def test_a_pause_between_two_parts_is_a_gap(path: Path) -> None:
    add(path, part(), DeviceSample(1.0, [5.0]), DeviceSample(11.0, [6.0]))
    add(path, part(BEGAN + 3600), DeviceSample(1.0, [7.0]))
    log = read_history(path)
    seconds, values = log.series("cpu")
    assert list(seconds) == [1.0, 11.0, 11.0, 3601.0]
    assert [math.isnan(value) for value in values] == [False, False, True, False]
    assert log.times[-1] == BEGAN + 3601
    assert [row[2] for row in log.rows()] == [{"cpu": 5.0}, {"cpu": 6.0}, {"cpu": 7.0}]


@pytest.mark.parametrize(("clock", "gap"), [(-1e6, 0.0), (1e11, MOST_GAP)])
def test_a_clock_that_is_wrong_turns_no_time_around(path: Path, clock: float, gap: float) -> None:
    add(path, part(), DeviceSample(1.0, [5.0]), DeviceSample(11.0, [6.0]))
    add(path, part(BEGAN + clock), DeviceSample(1.0, [7.0]))
    log = read_history(path)
    assert list(log.seconds) == sorted(log.seconds)
    assert log.seconds[-1] == 11.0 + gap + 1.0
    assert log.times[-1] == BEGAN + clock + 1.0, "what was shown then is shown now"


def test_samples_that_are_missing_are_a_gap(path: Path) -> None:
    """The disk was full for a while."""
    add(path, part(), *(DeviceSample(at, [5.0]) for at in (1.0, 11.0, 31.0, 91.0)))
    values = read_history(path).series("cpu")[1]
    assert [math.isnan(value) for value in values] == [False, False, False, True, False]


def test_a_card_that_a_later_part_lacks_has_no_values_then(path: Path) -> None:
    add(path, part(BEGAN, "cpu", "card0/power"), DeviceSample(1.0, [5.0, 300.0]))
    add(path, part(BEGAN + 20, "memory", "cpu"), DeviceSample(1.0, [9.0, 6.0]))
    log = read_history(path)
    power, memory = log.series("card0/power")[1], log.series("memory")[1]
    assert power[0] == 300.0
    assert memory[-1] == 9.0
    assert [len(log.series(name)[1]) for name in log.names()] == [3, 3, 3]
    assert (log.last("card0/power"), log.newest("card0/power")) == (300.0, None)


def test_lines_that_are_none_are_counted_and_left_out(path: Path) -> None:
    path.write_bytes(b"[1,5]\nx\n")
    add(path, part(BEGAN, "cpu", "\x1b[31mnew"), DeviceSample(5.0, [5.0, 1.0]))
    with path.open("ab") as file:
        file.write(b'[1,2,3]\n[6]\n{"others":5}\n\n[7,8,9]\n')
    log = read_history(path)
    assert log.names() == ["cpu"], "a series of a newer version is not shown under an odd name"
    assert list(log.series("cpu")[1]) == [5.0, 8.0], "time does not go backwards"
    assert log.skipped == 6
    assert log.notice.count("\n") == 0
    assert "left out" in log.notice


def test_a_file_that_is_none_is_one_sentence(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    with pytest.raises(RunError, match="a folder stands where a file should be"):
        read_history(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(RunError, match="it is a pipe"):
        read_history(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match="it is a link"):
        read_history(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(READ_BYTES + 1)
    with pytest.raises(RunError, match=r"8,388,609 bytes, more than the 8,388,608"):
        read_history(path)
    path.write_bytes(b"\0" * 4_000_000)
    assert read_history(path).is_empty


def test_a_file_that_was_made_to_fill_the_memory_does_not(path: Path) -> None:
    """Many columns, and behind them many short lines of a part with one."""
    add(path, part(BEGAN, *column_names(64)), part(BEGAN))
    with path.open("ab") as file:
        file.write(b"[1,5]\n" * 1_300_000)
    log = read_history(path)
    assert len(log.seconds) * (4 + 64 * 8) < 1.01 * MOST_VALUES
    assert log.skipped > 1_000_000
    path.unlink()
    add(path, part())
    with path.open("ab") as file:
        file.write(b"[1,5]\n" * 1_300_000)
    add(path, part(BEGAN, *column_names(64)))  # and the other way round
    log = read_history(path)
    assert len(log.seconds) < MOST_LINES
    path.unlink()
    add(path, part(), *[DeviceSample(float(at), [5.0]) for at in range(20_000)])
    add(path, part(BEGAN, *column_names(64)), DeviceSample(1.0, [5.0] * (4 + 64 * 8)))
    log = read_history(path)
    assert len(log.names()) * len(log.seconds) < 1.01 * MOST_VALUES


def test_the_largest_file_of_the_writer_is_taken_whole() -> None:
    """It is at most twice as large as it is thinned out at; its lines are no shorter than this."""
    for cards in (0, 1, 8):
        values = [100.0, 50.0, *[2.0**33] * (2 + 8 * cards)]
        line = len(encode_line_of(DeviceSample(1000.0, values)))
        lines = 2 * MOST_BYTES / line
        assert lines < MOST_LINES
        assert lines * len(values) < MOST_VALUES
