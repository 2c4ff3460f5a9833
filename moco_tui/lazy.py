"""Imports, on first use, of the parts of the engine that need torch.

torch takes seconds to import, so no module that the first screen needs may import it. The app
reaches torch through these functions alone, from the thread that waits for the result.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from typing import Any

_lock = threading.Lock()


def engine(module: str) -> Any:
    """A module of the engine by its name below ``engine``, such as ``jobs.execute``.

    Raises:
        ImportError: when the module, or what it imports, cannot be imported.
    """
    # One import at a time. Where two threads meet in a circular import, CPython avoids the deadlock
    # by giving one of them a partially initialised module (importlib._bootstrap,
    # _lock_unlock_module).
    with _lock:
        return importlib.import_module(f"engine.{module}")


def torch() -> Any:
    """The torch module.

    Raises:
        ImportError: when it cannot be imported.
    """
    with _lock:
        return importlib.import_module("torch")


def preload() -> threading.Thread:
    """Import the trainer in a thread; the thread ends when it is imported or has failed."""

    def work() -> None:
        # The next call of engine() imports again, and raises the error in a thread that shows it.
        with contextlib.suppress(Exception):
            engine("jobs.execute")

    # daemon: leaving the app does not wait for the import.
    thread = threading.Thread(target=work, name="preload", daemon=True)
    thread.start()
    return thread
