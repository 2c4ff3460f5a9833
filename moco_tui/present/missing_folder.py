"""Whether a folder that a form names is there."""

from __future__ import annotations

from pathlib import Path


def missing_folder(path: str) -> str:
    """Why there is no such folder; empty when there is."""
    try:
        folder = Path(path).expanduser()
        return "" if folder.is_dir() else f"there is no folder {folder}"
    # A name that is too long; ~ of an unknown user; a null character.
    except (OSError, RuntimeError, ValueError):
        return f"there is no folder {path}"
