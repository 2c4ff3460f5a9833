"""All runs of a folder as rows for the table: read once, afterwards only what changed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import UserError
from engine.history.entry import Entry, read_entry
from engine.history.history import History
from engine.runs import RunFolder
from moco_tui.present import fmt
from moco_tui.present.run_rows import LIVE, RunRow, row_of
from moco_tui.present.study_rows import StudyRows


class RunList:
    """The rows of a runs folder.

    ``refresh`` may be called from a thread of its own; ``rows`` is replaced as a whole, so that
    a reader always sees one state. One thread at a time may refresh.

    Args:
        root: the folder of the run folders.
        read_only: leave the index as it is.
    """

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root
        self.rows: dict[str, RunRow] = {}
        self.version = 0
        self.loaded = False
        self.error = ""
        self.history = History(root, read_only=read_only)
        self.lock = threading.Lock()
        """Held while the history is used: it may be used by one thread at a time."""
        self.studies = StudyRows(root)
        self._stamp: tuple[int, int] = (-1, -1)  # of the folder and its index at the last reading
        self._last_full = 0.0  # seconds of a monotonic clock

    def matcher(self, text: str) -> Callable[[Entry], bool]:
        """What tells the runs that a filter lets through.

        Raises:
            ConfigError: when the text is no filter.
        """
        # The first screen filters nothing, and every import delays it.
        from engine.history.filters import metric_names, parse_filter

        return parse_filter(text, metrics=metric_names(row.entry for row in self.rows.values()))

    def refresh(self, *, full_every: float = 10.0) -> bool:
        """Look for changes; True when any row changed, or ``error``.

        Live runs are looked at every time, all others when the folder or its index changed, or
        after ``full_every`` seconds, since what changes within a run need not touch either of them.
        """
        with self.lock:
            stamp = (_mtime(self.root), _mtime(self.root / "history.json"))
            now = time.monotonic()
            before, error_before = self.rows, self.error
            if stamp != self._stamp or not self.loaded or now - self._last_full > full_every:
                rows = self._all()
                self._last_full = now
                # Reading brings the index up to date, which changes its time.
                self._stamp = (_mtime(self.root), _mtime(self.root / "history.json"))
            else:
                rows = self._live()
            rows = self.studies.related(rows)
            if rows == before and self.error == error_before and self.loaded:
                return False
            self.rows = rows
            self.version += 1
            self.loaded = True
            return True

    def _all(self) -> dict[str, RunRow]:
        """Every run; the rows of those that have not changed are kept as they are."""
        try:
            entries = self.history.list()
            self.error = ""
        except UserError as error:
            self.error = fmt.clean(str(error))
            entries = []
        rows = {}
        for entry in entries:
            old = self.rows.get(entry.id)
            rows[entry.id] = old if old is not None and old.entry == entry else row_of(entry)
        return rows

    def _live(self) -> dict[str, RunRow]:
        """The rows from before, with those of live runs read from their folders."""
        rows = dict(self.rows)
        for row in self.rows.values():
            if row.status not in LIVE:
                continue
            folder = RunFolder(self.root / row.id)
            entry = read_entry(folder)
            if entry is None:  # deleted
                del rows[row.id]
                continue
            if entry.status in LIVE:  # the record says so; its process may be gone all the same
                with contextlib.suppress(UserError):
                    entry.status = folder.status()
            if entry != row.entry:
                rows[row.id] = row_of(entry)
        return rows


def _mtime(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - called every second: no Path in between
    except OSError:
        return 0
