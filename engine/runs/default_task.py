"""Which task a probe of a pretraining solves where nobody names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.data import DATA_SETS, default_task
from engine.config.schema import TaskConfig
from engine.runs.data_identity import last_identity
from engine.runs.record import Record


def default_task_of(record: Record, source: str = "") -> str:
    """The task that suits the classes of a probe's data; that of the schema without any.

    Args:
        record: of the pretraining. Where it holds no facts of its data, as that of an encoder from
            elsewhere, the classes are those that its set is known to have.
        source: of the probe's data; empty: that of the pretraining.
    """
    data = record.config.get("data")
    if source and not (isinstance(data, Mapping) and data.get("source") == source):
        return _task_of_set(source)
    identity = last_identity(record.data)
    classes = 0 if identity is None else identity.classes
    if not classes and isinstance(data, Mapping):
        return _task_of_set(data.get("source"))
    return default_task(classes) if classes else TaskConfig().name


def _task_of_set(source: Any) -> str:
    """The task that suits the classes that a set is known to have."""
    part, _ = DATA_SETS.find(source)
    classes = 0 if part is None else len(part.class_names)
    return default_task(classes) if classes else TaskConfig().name
