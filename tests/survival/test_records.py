"""The small form of ``records.py``: odd files of a run do not stop commands or the app."""

from __future__ import annotations

from .scripts import survives


def test_odd_files_stop_no_command_and_not_the_app() -> None:
    """Those first that have broken something once."""
    survives("records.py", "--tries", "12")
