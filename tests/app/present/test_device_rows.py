"""The devices as rows: who computes on each, by the locks and the records, and who waits."""

from __future__ import annotations

from typing import Any

from engine.history.entry import Entry
from engine.machine.cards import Card
from engine.machine.load_reader import Load
from moco_tui.present.device_rows import DeviceUse, device_line, device_rows
from moco_tui.present.run_rows import RunRow, row_of

GIB = 2**30
A = Card("A", used=10 * GIB, total=80 * GIB, index=0, uuid="aaaa", others_count=0)
B = Card("B", used=4 * GIB, total=80 * GIB, index=1, uuid="bbbb", others_count=2)
LOAD = Load(cores=2, used=4 * GIB, total=16 * GIB, cards=[A, B])


def row(run: str, device: str, status: str = "running", **more: Any) -> RunRow:
    facts: dict[str, Any] = {"kind": "pretrain", "name": f"name of {run}", "host": "box"}
    return row_of(Entry(id=run, device=device, status=status, **facts | more))


def rows_of(*rows: RunRow, **options: Any) -> dict[str, DeviceUse]:
    given: dict[str, Any] = {"visible": None, "holders": {}, "host": "box", "queues": {}}
    return {each.name: each for each in device_rows(LOAD, rows=rows, **given | options)}


def test_the_lock_goes_before_those_that_wait_for_it() -> None:
    first, waits = row("k7m2qx", "cuda:0 A"), row("a1b2c3", "cuda:0 A")
    found = rows_of(waits, first, holders={"aaaa": "run k7m2qx (process 7)"})
    assert found["cuda:0"].run == "k7m2qx"
    assert found["cuda:0"].who == "name of k7m2qx and name of a1b2c3"
    assert found["cuda:0"].about == "A, 70.0 GiB free of 80.0 GiB"
    assert found["cuda:1"].who == "2 processes of other programs"
    assert found["cpu"] == DeviceUse("cpu", "2 cores, 12.0 GiB free of 16.0 GiB")


def test_a_run_of_another_folder_is_named_as_it_names_itself() -> None:
    found = rows_of(holders={"bbbb": "run zzzzzz (process 7)"})
    assert (found["cuda:1"].who, found["cuda:1"].run) == ("run zzzzzz (process 7)", "")


def test_only_what_computes_here_and_now_counts() -> None:
    found = rows_of(
        row("k7m2qx", "cpu", "finished"),
        row("a1b2c3", "cpu", host="other"),
        row("p2b9dz", "cpu", kind="study"),
        row("q4r8st", "cpu", "paused"),
    )
    assert (found["cpu"].who, found["cpu"].run) == ("name of q4r8st", "q4r8st")


def test_who_waits_is_counted_and_named() -> None:
    one = row("k7m2qx", "", "queued")
    queues = {"cuda:0": ["k7m2qx", "u1", "u2", "u3"], "auto": ["u4"]}
    found = rows_of(one, queues=queues)
    assert found["cuda:0"].waiting == "4 runs: name of k7m2qx, u1, u2 and 1 more"
    assert list(found) == ["cuda:0", "cuda:1", "cpu", "auto"]
    line = device_line(found["cuda:0"], 80)
    assert line.startswith(" cuda:0   A, 70.0 GiB free of 80")
    assert line.endswith("  nobody; 4 runs: name of k7m2qx, u1, u2 and 1 more waiting")
    assert "nobody" not in device_line(found["auto"], 80)


def test_hostile_names_are_clean() -> None:
    evil = row("k7m2qx", "cpu", name="\x1b[2Jevil")
    found = rows_of(evil, holders={"aaaa": "\x1b]0;x\x07 me"})
    assert "\x1b" not in "".join(str(each) for each in found.values())
