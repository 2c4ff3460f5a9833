"""The states of a run: which may follow which, and what a change of state does to the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import RunError
from engine.runs import training_time
from engine.runs.record import Record, Status
from engine.sink import Request

TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    "queued": frozenset({"running", "stopped", "failed"}),
    # running -> running: another process takes over a run that was lost.
    "running": frozenset({"running", "paused", "finished", "stopped", "failed", "handed-over"}),
    "paused": frozenset({"running", "stopped", "failed", "handed-over"}),
    # -> queued: to a batch system, which starts it again; or to be resumed when its turn comes.
    "handed-over": frozenset({"running", "queued", "stopped", "failed"}),
    "stopped": frozenset({"running", "queued"}),
    "failed": frozenset({"running", "queued"}),
    "finished": frozenset(),
}

_FIXED = frozenset({"schema", "id", "kind", "created", "status"})


def check_transition(record: Record, status: Status, changes: Mapping[str, Any]) -> None:
    """Refuse a change of state that is not in ``TRANSITIONS``.

    Args:
        record: the record as it is.
        status: the new state.
        changes: further fields of the record that are to change with it.

    Raises:
        TypeError: when a field is none of the record, or may not change.
        RunError: when the state cannot follow the present one.
    """
    for name in changes:
        if name in _FIXED or name not in Record.__struct_fields__:
            raise TypeError(f"{name} is no field of a record that may change")
    if status not in TRANSITIONS[record.status]:
        raise RunError(f"The run {record.id} is {record.status}; it cannot become {status}.")


def change_status(
    record: Record, status: Status, changes: Mapping[str, Any], *, now: float
) -> None:
    """Change the state, the times that follow from it, and further fields.

    Args:
        record: changed in place.
        status: the new state; see ``check_transition``.
        changes: further fields.
        now: unix seconds.
    """
    record.status = status
    if status == "running":
        training_time.begin(record, now)  # before ``ended`` goes, which it may need
        record.started = record.started or now  # of the first start; a resume keeps it
        record.ended, record.error = None, ""
    elif status in ("finished", "stopped", "failed"):
        record.ended = now
    if status != "running":
        training_time.end(record, now)
    if status != "running":
        record.stage = None
    for name, value in changes.items():
        setattr(record, name, value)


def fulfilled_request(status: Status) -> Request:
    """The request that is fulfilled already: ``pause`` of a paused run, else ``continue``."""
    return "pause" if status == "paused" else "continue"
