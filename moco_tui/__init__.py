"""The terminal app and the commands over ``engine``.

``moco_tui.__version__`` is the version of the program.
"""

from __future__ import annotations


def __getattr__(name: str) -> str:
    """The version, worked out when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engine.machine.installation import program_version

    return program_version()
