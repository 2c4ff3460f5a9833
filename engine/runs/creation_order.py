"""In which order the runs of a folder were made, though the clock may have been set in between.

``created`` is what the clock said, for people. It is also the order, unless a clock that was set
back dates a new run before one that was there already: then the new run has an ``order``, a little
after that of the newest. A file in the folder of the runs keeps the place of the newest, so that
not every record is read for it. Both are unix seconds, so that runs of an earlier version, and runs
that were copied from another folder, find their place among the others.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from engine.files import read_plain, replace_file
from engine.runs.recorded_fields import RECORD_BYTES

NEWEST_NAME = ".newest"
"""Name of the file with the place of the newest run."""
_NEWEST_BYTES = 100
_LAST = 6.9e10  # beyond every moment of a record, and with room for later places
_APART = 1e-6  # seconds; a float of today's dates tells a quarter of that apart


class Dated(Protocol):
    """A record, or what an index has of it."""

    @property
    def created(self) -> float:
        """Unix seconds."""

    @property
    def order(self) -> float | None:
        """See ``Record``."""


class _Dates(Struct):
    """The only fields of a record that are needed here: the whole takes ten times as long."""

    created: float = 0.0
    order: float | None = None


def place_of(run: Dated) -> float:
    """What runs are sorted by, from the oldest to the newest; unix seconds, as far as clocks go."""
    return run.created if run.order is None else run.order


def next_order(root: Path, names: Callable[[], Iterable[str]], created: float) -> float | None:
    """``Record.order`` of a run that is being made; ``note_newest`` follows once it has a record.

    Two runs that are made at the same moment may get the same place.

    Args:
        root: folder of the runs.
        names: gives the runs in it; their records are read where nothing is noted yet.
        created: what the clock says now.

    Returns:
        None where that is its place already.
    """
    newest = _noted(root)
    if newest is None:
        newest = max((_recorded(root / id_) for id_ in names()), default=-math.inf)
    if newest < created:
        return None
    return max(newest + _APART, math.nextafter(newest, math.inf))


def note_newest(root: Path, run: Dated) -> None:
    """Note the place of a new run. Where that cannot be written, nothing happens.

    The next run then has the place that the last note gives it.
    """
    with contextlib.suppress(OSError):
        data = f"{place_of(run)!r}\n".encode()
        replace_file(root / NEWEST_NAME, data, follow_folder=True)


def _noted(root: Path) -> float | None:
    """The place that the file holds; None where there is none, or no number."""
    with contextlib.suppress(OSError, ValueError):
        found = float(read_plain(root / NEWEST_NAME, _NEWEST_BYTES))
        return found if abs(found) < _LAST else None
    return None


def _recorded(folder: Path) -> float:
    """The place of a run; that before all others where its record cannot be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = read_plain(folder / "run.json", RECORD_BYTES)
        found = place_of(msgspec.json.decode(data, type=_Dates))
        return found if abs(found) < _LAST else -math.inf
    return -math.inf
