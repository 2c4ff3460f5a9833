"""The small form of ``system_calls.py``: kills at, and errors of, chosen system calls."""

from __future__ import annotations

from .scripts import survives


def test_a_command_survives_at_its_system_calls() -> None:
    moments = ["training", "take-over", "delete", "tag", "export", "reindex"]
    survives("system_calls.py", "--tries", "8", "--moment", *moments)
