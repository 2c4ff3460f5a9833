"""The order of the rows: sorted, nested, folded."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from engine.history.entry import Entry, make_entry
from engine.runs.record import UserNotes
from moco_tui.present.run_order import arrange, nested
from moco_tui.present.run_rows import row_of

from ..conftest import write_run


def test_ten_thousand_rows_are_arranged_and_drawn_at_once(root: Path) -> None:
    """The table's own part of opening 10,000 runs; the rest is the history's."""
    record = write_run(root, "k7m2qx").record()
    entry = make_entry(record, UserNotes())
    entries = [
        msgspec.structs.replace(entry, id=f"r{i:05}", parent=f"r{i - 1:05}" if i % 3 else "")
        for i in range(10_000)
    ]
    start = time.process_time()
    rows = arrange([row_of(entry) for entry in entries])
    seconds = time.process_time() - start
    assert sorted(row.id for row, _ in rows) == [entry.id for entry in entries]
    assert seconds < 5, f"{seconds:.2f} s"


def test_parents_in_a_ring_lose_no_run() -> None:
    rows = [
        row_of(Entry(id=a, parent=b)) for a, b in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "d"))
    ]
    assert sorted(row.id for row, _ in arrange(rows)) == ["a", "b", "c", "d"]
    assert sorted(row.id for row, _ in arrange(rows, unfolded=())) == ["a", "b", "c", "d"]


def test_a_ring_of_parents_loses_nobody() -> None:
    ring = [Entry(id=i, parent=p) for i, p in (("a", "b"), ("b", "a"), ("c", "c"), ("d", "gone"))]
    found = nested([*ring, Entry(id="e", parent="d")])
    assert sorted(entry.id for entry, _ in found) == ["a", "b", "c", "d", "e"]
    assert {entry.id: depth for entry, depth in found}["e"] == 1
