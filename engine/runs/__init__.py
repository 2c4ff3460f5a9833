"""Run folders: everything about a run that is on disk, under one name.

``create`` makes one, ``find`` finds one, ``RunFolder`` reads it, ``own`` takes it over for
writing. Any process may read; one process at a time, the owner, writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.runs.folder import RunFolder
from engine.runs.heartbeat import ALIVE_SECONDS, Heartbeat
from engine.runs.lookup import by_id, described, find
from engine.runs.metric_log import MetricLog
from engine.runs.note_limits import clean_tags
from engine.runs.record import ACTIVE, Ack, Record, ShownStatus, Stage, Status, UserNotes, direction
from engine.runs.requests import PendingRequest
from engine.runs.root import create, folder_names, folders, runs_root

if TYPE_CHECKING:
    from engine.runs.owner import RunOwner
    from engine.runs.takeover import own

__all__ = [
    "ACTIVE",
    "ALIVE_SECONDS",
    "Ack",
    "Heartbeat",
    "MetricLog",
    "PendingRequest",
    "Record",
    "RunFolder",
    "RunOwner",
    "ShownStatus",
    "Stage",
    "Status",
    "UserNotes",
    "by_id",
    "clean_tags",
    "create",
    "described",
    "direction",
    "find",
    "folder_names",
    "folders",
    "own",
    "runs_root",
]


def __getattr__(name: str) -> Any:
    """What only the owner of a run needs, imported when it is asked for.

    Most processes read runs; the writing half would cost each of them ten modules at its start.
    """
    if name == "RunOwner":
        from engine.runs.owner import RunOwner

        return RunOwner
    if name == "own":
        from engine.runs.takeover import own

        return own
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
