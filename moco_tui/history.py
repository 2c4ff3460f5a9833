"""The history as the table of runs uses it: filter, delete, restore."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.runs import RunFolder
from moco_tui.catalog import Row


def matcher(text: str) -> Callable[[Row], bool]:
    """The filter that a text describes.

    Raises:
        ConfigError: one sentence on what is wrong in it.
    """
    words = text.lower().split()

    def match(row: Row) -> bool:
        hay = " ".join(
            (row.id, row.kind, row.title, row.status, row.data, row.task, *row.tags, row.note)
        ).lower()
        return all(word in hay for word in words)

    return match


def _history(root: Path) -> Any:
    return importlib.import_module("engine.history").History(root)


def touch(root: Path, folder: RunFolder) -> None:
    """Name, tags or note changed: bring the index up to date."""
    del root, folder


def delete(root: Path, run_id: str) -> None:
    """Move a run to the trash.

    Raises:
        RunError: when it cannot be moved.
    """
    _history(root).delete(run_id)


def restore(root: Path, run_id: str) -> None:
    """Bring a run back from the trash.

    Raises:
        RunError: when it is not there or cannot be moved.
    """
    _history(root).restore(run_id)
