"""The order of the rows: sorted, nested, folded."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.history.entry import Entry, make_entry
from engine.history.history import History
from engine.runs.record import UserNotes
from moco_tui.present.run_order import arrange, fold_of, nested
from moco_tui.present.run_rows import row_of

from ..calls import calls_of
from ..conftest import write_run


def test_the_work_of_arranging_rows_grows_as_their_number_does(root: Path) -> None:
    """The table's own part of opening thousands of runs; the rest is the history's."""
    entry = make_entry(write_run(root, "k7m2qx").record(), UserNotes())

    def work(count: int) -> int:
        entries = [
            msgspec.structs.replace(entry, id=f"r{i:05}", parent=f"r{i - 1:05}" if i % 3 else "")
            for i in range(count)
        ]
        rows = [row_of(entry) for entry in entries]
        assert sorted(row.id for row, _ in arrange(rows)) == [entry.id for entry in entries]
        return calls_of(lambda: arrange(rows))

    # Twice as many rows are twice the work, and a little more for sorting; not four times.
    assert work(4000) < 2.5 * work(2000)


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


def test_the_best_of_folded_probes_is_of_one_data_set(root: Path) -> None:
    parent = write_run(root, "k7m2qx")
    for i, source in enumerate(("", "", "shapes")):
        write_run(
            *(root, f"v{i}bcdf"),
            kind="probe",
            parent=parent.id,
            sets=(f"data.source={source}",) if source else (),
            result={"top1": 40.0 + 10 * i},
        )
    rows = [row_of(entry) for entry in History(root).list("kind:probe")]
    assert fold_of(parent.id, rows, open_=False).best == 50.0
    transfers = [row for row in rows if row.source]
    assert fold_of(parent.id, transfers, open_=False).best == 60.0
