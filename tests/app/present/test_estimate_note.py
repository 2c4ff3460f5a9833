"""An estimate names what slows it."""

from __future__ import annotations

from engine.history.entry import Entry
from moco_tui.present.estimate_note import slowed_by, training_here
from moco_tui.present.run_rows import RunRow, row_of


def row(id_: str, status: str = "running", host: str = "box", **more: str) -> RunRow:
    made = row_of(Entry(id=id_, kind=more.pop("kind", "pretrain"), status=status, host=host))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_what_trains_on_this_machine() -> None:
    rows = [
        row("a", name="one"),
        row("b", status="paused"),
        row("c", host="other"),
        row("d"),
        row("s", kind="study"),
        row("m", study="s"),
        row("o", study="gone"),
    ]
    assert training_here(rows, "box") == ["one", "d", "s", "o"]
    assert training_here([], "box") == []


def test_the_sentence() -> None:
    assert slowed_by([]) == ""
    one = "a is training on this machine: alone the run would be faster."
    assert slowed_by(["a"]) == one
    assert slowed_by(["a", "b", "c", "d", "e"]).startswith("a, b, c and 2 more are training")
    assert "\x1b" not in slowed_by(["\x1b[31m"])
