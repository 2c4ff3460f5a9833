"""Which run a person most likely compares a run with."""

from __future__ import annotations

from collections.abc import Mapping

from moco_tui.present.run_rows import RunRow


def likely_rival(rows: Mapping[str, RunRow], run: str) -> str:
    """The id of the run that is most like one, to be offered beside it; empty where none is.

    It is of the same kind. What makes their figures comparable counts first: the images, and of a
    probe the task, the share of the labels and the head; then that it is finished; then the newest.

    Args:
        rows: of all runs, by id.
        run: id of the one.
    """
    one = rows.get(run)
    if one is None or one.kind not in ("pretrain", "probe"):
        return ""

    def likeness(row: RunRow) -> tuple[object, ...]:
        return (
            row.entry.data_digest == one.entry.data_digest,
            (row.task, row.labels) == (one.task, one.labels),
            row.head == one.head,
            row.parent != one.parent,  # the same task on another encoder
            row.status == "finished",
            row.created,
        )

    others = [row for row in rows.values() if row.kind == one.kind and row.id != run]
    return max(others, key=likeness).id if others else ""
