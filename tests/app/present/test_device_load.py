"""The load of a machine in words: as it is now, as it was recorded, and where nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.machine.cards import Card, CardProcess
from engine.machine.load_reader import Load
from engine.runs.device_log import DeviceLog
from moco_tui.present.device_load import (
    NOTHING_RECORDED,
    device_lines,
    recorded_lines,
    recorded_load,
)
from moco_tui.present.lines import Line

from ...machine_loads import GIB, load_at, write_history

BEGAN = 1.7e9


def texts(lines: Sequence[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def recorded(path: Path, shares: list[float], cards: int = 1) -> DeviceLog:
    write_history(path / "devices.jsonl", shares, began=BEGAN, cards=cards)
    log = DeviceLog(path / "devices.jsonl")
    log.poll()
    return log


def test_what_is_recorded_reads_as_it_did_then(tmp_path: Path) -> None:
    log = recorded(tmp_path, [0.1, 0.5])
    now, then = load_at(0.5), recorded_load(log)
    assert then is not None
    now.cards[0].index = None  # the driver's number of a card is no value
    assert then == now
    lines = texts(recorded_lines(log, BEGAN + 11 + 7200, ascii_only=True))
    assert lines == ["recorded 2 h ago", *texts(device_lines(now, ascii_only=True, process="run"))]


def test_every_value_has_its_line() -> None:
    lines = texts(device_lines(load_at(0.5), ascii_only=True))
    assert lines == [
        "CPU    ######......  50 % of 4 cores",
        "memory ######......  8.0 GiB of 16.0 GiB",
        "app    1.0 GiB resident, 12 % of the CPU",
        "NVIDIA H200",
        "GPU    ######......  50 %",
        "memory ............  4.5 GiB of 139.0 GiB",
        "app    25 % of the GPU, 4.0 GiB",
        "others 1 process, 1.0 GiB (ann 77)",
        "power  300 W  50 °C",
    ]


def test_what_is_not_known_has_none() -> None:
    assert texts(device_lines(Load(), ascii_only=True)) == ["no NVIDIA card"]
    lines = texts(device_lines(Load(cards=[Card("A")]), ascii_only=True))
    assert lines == ["A", "GPU                  –", "power  –  –"]


def test_others_are_named_as_far_as_there_is_room() -> None:
    others = [CardProcess(pid, "\x1b[31mann" if pid < 3 else "") for pid in range(1, 6)]
    card = Card("A", others=others, others_count=5)
    line = next(t for t in texts(device_lines(Load(cards=[card]), ascii_only=True)) if "5 p" in t)
    assert line == "others 5 processes (?[31mann 1, ?[31mann 2, 3)"


def test_half_a_core_is_no_whole_one() -> None:
    lines = texts(device_lines(Load(cpu=0.5, cores=0.5, used=GIB, total=2 * GIB), ascii_only=True))
    assert lines[0].endswith("50 % of 0.5 cores")


def test_a_run_without_records_says_so(tmp_path: Path) -> None:
    log = DeviceLog(tmp_path / "devices.jsonl")
    assert recorded_load(log) is None
    assert texts(recorded_lines(log, BEGAN, ascii_only=True)) == [NOTHING_RECORDED]


def test_a_run_on_a_cpu_has_no_card(tmp_path: Path) -> None:
    lines = texts(recorded_lines(recorded(tmp_path, [0.5], 0), BEGAN + 1, ascii_only=True))
    assert lines[0] == "recorded now"
    assert lines[-1] == "no NVIDIA card"
