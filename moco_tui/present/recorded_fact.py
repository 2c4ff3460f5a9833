"""A fact in the record of a run, where it can be read."""

from __future__ import annotations

from engine.errors import UserError
from engine.runs import RunFolder


def recorded_fact(folder: RunFolder, fact: str) -> str:
    """The ``kind`` or ``status`` in the record of a run; empty where it cannot be read."""
    try:
        return str(getattr(folder.record(), fact))
    except UserError:
        return ""
