"""The one door from the app to the parts of the engine that import torch.

torch takes seconds to import, so nothing that a first screen needs may reach it. Everything here
imports on first use, by name, from the thread that is going to wait for it.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

_lock = threading.Lock()


def engine(module: str) -> Any:
    """A module of the engine by its name inside it, such as ``jobs.execute``."""
    with _lock:  # two threads that import torch at once can deadlock in its own imports
        return importlib.import_module(f"engine.{module}")


def torch() -> Any:
    """The torch module."""
    with _lock:
        return importlib.import_module("torch")


def preload() -> threading.Thread:
    """Import the trainer in the background; the thread ends when it is there."""

    def work() -> None:
        import contextlib

        with contextlib.suppress(Exception):  # whoever needs it next gets the error itself
            engine("jobs.execute")

    thread = threading.Thread(target=work, name="preload", daemon=True)
    thread.start()
    return thread
