"""The command ``moco-tui``, and ``python -m moco_tui``: both begin here.

Before anything of it is imported, the package ``engine`` is looked at: others may bring a package
of that name too.
"""

from __future__ import annotations

import sys
from typing import Any


def main(args: list[str] | None = None) -> Any:
    """Runs a command, or the app; leaves with its exit code, 2 where ``engine`` is another one."""
    problem = other_engine()
    if problem:
        printable = "".join(c if c.isprintable() else "?" for c in problem)
        print(f"moco-tui: {printable}", file=sys.stderr)
        sys.exit(2)
    from moco_tui.cli import main as run

    run(args)


def other_engine() -> str:
    """A sentence when ``import engine`` gives another package than the one of this program.

    Nothing of what is found is imported or run.

    Returns:
        What was found, where, and what to do; empty when it is ours.
    """
    # Here, since these modules are there already when Python has started; pathlib is not.
    import importlib.util
    import os.path

    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
    ours = os.path.join(home, "engine", "__init__.py")  # noqa: PTH118
    anew = (
        "install moco-tui into an environment of its own, or again (pip install --force-reinstall)"
    )
    try:
        spec = importlib.util.find_spec("engine")
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"Its package engine is not in {home}; {anew}."
    found = spec.origin or next(iter(spec.submodule_search_locations or ()), "an unknown place")
    if os.path.realpath(found) != ours:
        if os.path.realpath(found) == os.path.dirname(ours):  # noqa: PTH120
            return f"Its package engine in {found} has lost its __init__.py; {anew}."
        return (
            f"Python finds another package called engine ({found}) before the one of moco-tui "
            f"({ours}); take that folder out of PYTHONPATH, start moco-tui in another folder, or "
            "install it into an environment of its own."
        )
    if not _is_ours(ours):
        return f"Another package has been installed over moco-tui's engine ({found}); {anew}."
    return ""


def _is_ours(file: str) -> bool:
    """Whether a file is the ``__init__`` of this program's engine, by the line that says so."""
    try:
        with open(file, "rb") as source:  # noqa: PTH123
            return b'\n__distribution__ = "moco-tui"' in source.read(65536)
    except OSError:
        return False


if __name__ == "__main__":
    main()
