"""Run folders: everything about a run that is on disk, under one name.

``create`` makes one, ``find`` finds one, ``RunFolder`` reads it, ``own`` takes it over for
writing. The parts are in modules of their own.
"""

from __future__ import annotations

from engine.control import ALIVE_SECONDS, Asked, Heartbeat
from engine.folder import RunFolder, clean_tags, create, find, folder_names, folders, runs_root
from engine.metriclog import MetricLog
from engine.owner import RunOwner
from engine.ownership import own
from engine.record import ACTIVE, Ack, Record, ShownStatus, Stage, Status, UserNotes, direction

__all__ = [
    "ACTIVE",
    "ALIVE_SECONDS",
    "Ack",
    "Asked",
    "Heartbeat",
    "MetricLog",
    "Record",
    "RunFolder",
    "RunOwner",
    "ShownStatus",
    "Stage",
    "Status",
    "UserNotes",
    "clean_tags",
    "create",
    "direction",
    "find",
    "folder_names",
    "folders",
    "own",
    "runs_root",
]
