"""The details of an error that ended the app, in a file of their own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_report(text: str) -> Path | None:
    """Writes the details into a new file for this user alone; None where there is no place.

    Not into the runs folder, whose disk may be what is full, and which a person may only look at.

    Args:
        text: traceback and values, as Textual or Python prints them.
    """
    try:
        handle, name = tempfile.mkstemp(prefix="moco-tui-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return None
    return Path(name)
