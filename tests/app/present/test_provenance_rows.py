"""Where a run came from, in words."""

from __future__ import annotations

from typing import Any

import pytest

from engine.runs import Record
from engine.runs.provenance import ProvenancePart
from moco_tui.present.provenance_rows import (
    ABSENT,
    NOT_RECORDED,
    NOT_YET,
    compared,
    in_cell,
    provenance_differences,
    provenance_rows,
    shown,
)

VALUES: dict[str, Any] = {
    "command": "moco-tui pretrain",
    "program.version": "0.1.0",
    "program.commit": "0123456789abcdef0123456789abcdef01234567",
    "program.branch": "main",
    "program.changed": 2,
    "program.untracked": 0,
    "program.patch": "patch-0123456789ab.diff",
    "code.my.net.digest": "aa11",
    "packages.python": "3.12.1",
    "packages.torch": "2.11.0",
    "packages.all": "packages-0123456789ab.txt",
    "machine.host": "box",
    "machine.cores": 8,
    "machine.cores_usable": 4,
    "machine.memory": 16 << 30,
    "machine.gpu": "H100",
    "machine.driver": "550.1",
    "environment.OMP_NUM_THREADS": "2",
}


def record(*parts: dict[str, Any], **fields: Any) -> Record:
    provenance = [ProvenancePart(step=10 * i, time=1.0, values=v) for i, v in enumerate(parts)]
    return Record(id="a", kind="pretrain", created=1.0, provenance=provenance, **fields)


def test_everything_that_is_known_is_said() -> None:
    rows = dict(provenance_rows(record(VALUES, study="k7m2qx")))
    assert rows == {
        "made by study": "k7m2qx",
        "program": "moco-tui 0.1.0, commit 0123456789ab on main, changed files: 2, "
        "patch in patch-0123456789ab.diff",
        "code my.net": "digest aa11",
        "command": "moco-tui pretrain",
        "packages": "python 3.12.1, torch 2.11.0; all in packages-0123456789ab.txt",
        "machine": "box, 4 of 8 cores, 16.0 GiB",
        "card": "H100, driver 550.1",
        "environment": "OMP_NUM_THREADS=2",
    }


def test_a_clean_checkout_says_so() -> None:
    rows = dict(provenance_rows(record({"program.commit": "a" * 40, "program.changed": 0})))
    assert rows["program"] == f"commit {'a' * 12}, no change"


def test_later_parts_say_what_changed() -> None:
    later = {"packages.torch": "2.12.0", "environment.OMP_NUM_THREADS": None}
    last = {"packages.torch": "2.13.0", "command": "moco-tui resume"}
    rows = provenance_rows(record(VALUES, later, last))
    assert rows[-2:] == [
        ("from step 10", "packages.torch 2.11.0 → 2.12.0; environment.OMP_NUM_THREADS 2 → –"),
        ("from step 20", "packages.torch 2.12.0 → 2.13.0; command moco-tui resume"),
    ]


@pytest.mark.parametrize(("started", "words"), [(5.0, NOT_RECORDED), (None, NOT_YET)])
def test_a_run_without_any_says_why(started: float | None, words: str) -> None:
    assert provenance_rows(record(started=started)) == [("origin", words)]


@pytest.mark.parametrize("odd", [{}, [], ["x"], {"a": {"b": 1}}, "a\x1b[31m\nb", 1e99, True])
def test_what_others_wrote_is_one_clean_line(odd: object) -> None:
    values = dict.fromkeys(VALUES, odd) | {"environment.\x1b[2J": odd, "code.\x07.note": odd}
    for label, text in provenance_rows(record(values, values)):
        assert label.isprintable()
        assert text.isprintable()
    assert shown("machine.memory", odd).isprintable()


def test_a_long_command_leaves_room_for_the_other_columns() -> None:
    assert in_cell("command", "x" * 41) == "x" * 37 + "..."
    assert in_cell("command", "x" * 40) == "x" * 40


def test_only_what_differs_is_compared() -> None:
    a, b = VALUES, VALUES | {"packages.torch": "2.12.0", "environment.NEW": "1"}
    assert provenance_differences([a, b], [True, True]) == {
        "packages.torch": ["2.11.0", "2.12.0"],
        "environment.NEW": [None, "1"],
    }
    assert provenance_differences([a, a], [True, True]) == {}


def test_a_run_that_recorded_nothing_differs_in_one_row() -> None:
    assert provenance_differences([VALUES, {}], [True, False]) == {
        ABSENT: ["recorded", "not recorded"]
    }
    assert provenance_differences([{}, {}], [False, False]) == {}
    assert compared(record(VALUES, {"packages.torch": None}, study="s"))["study"] == "s"
    assert "packages.torch" not in compared(record(VALUES, {"packages.torch": None}))
