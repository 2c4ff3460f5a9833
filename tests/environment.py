"""The environment of a Python that a test starts: this checkout's packages and the caller's."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def with_packages(*first: Path, **more: str) -> dict[str, str]:
    """The caller's environment, in which a child finds the packages wherever it starts.

    What the caller has in PYTHONPATH is passed on, made absolute: its libraries may lie there.

    Args:
        first: folders that are searched before this checkout.
        more: further variables.
    """
    known = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    paths = [*map(str, first), str(REPOSITORY), *map(os.path.abspath, known)]
    # No test reads the configuration of the person who runs it.
    nobodys = {"MOCO_TUI_CONFIG": "/nonexistent/config.toml"}
    return {**nobodys, **os.environ, **more, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
