"""Checkpoints: one file, replaced atomically, from which a run continues to the same bits.

``load`` is the way to read one: it also brings checkpoints of earlier versions up to date (see
``old_checkpoints``). The file is read with ``weights_only=True``, so it cannot run code.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from engine.errors import RunError
from engine.files import reason, replace_file
from engine.pretrain.old_checkpoints import MIGRATIONS
from engine.runs.migrations import upgrade

SCHEMA = 2


def save(path: Path, state: dict[str, Any]) -> None:
    """Replaces the file by one that holds ``state``.

    The bytes reach the disk before the old file goes, so that a kill or a power cut at any
    moment leaves either the old checkpoint or the new one.

    Args:
        path: the file.
        state: tensors, numbers, texts, and lists and dicts of these.

    Raises:
        RunError: when it cannot be written (a full disk, a folder that is gone or read-only).
    """
    # Not torch.save to the file: it would report a full disk as a RuntimeError, not an OSError.
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **state}, buffer)
    try:
        replace_file(path, buffer.getbuffer())
    except OSError as error:
        raise RunError(
            f"The checkpoint {path} cannot be written ({reason(error)}); "
            "the one before it is unharmed."
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Reads what ``save`` wrote, in this version or an earlier one.

    Args:
        path: the file.

    Returns:
        The state under today's names, and its ``schema``; every tensor on the CPU.

    Raises:
        RunError: when there is no file, or it cannot be read, is truncated, damaged, or of a newer
            version.
    """
    try:
        # Opened here: what the system refuses is told apart from what torch cannot understand.
        with path.open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"There is no checkpoint {path}; the run never reached one.") from None
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno:  # torch's own have none
            raise RunError(f"The checkpoint {path} cannot be read: {reason(error)}.") from error
        raise RunError(
            f"The checkpoint {path} cannot be read: it is truncated or damaged."
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("schema"), int):
        raise RunError(f"The checkpoint {path} was not written by moco-tui.")
    try:
        return upgrade(state, current=SCHEMA, steps=MIGRATIONS, what=f"The checkpoint {path}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"The checkpoint {path} is damaged: something is missing in it.") from error
