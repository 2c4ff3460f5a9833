"""All runs of a folder as rows for the table: read once, afterwards only what changed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import UserError
from engine.history.entry import Entry, counted, read_entry
from engine.history.history import History, needs_count
from engine.runs import RunFolder
from engine.runs.folder_size import size_of
from moco_tui.present import fmt
from moco_tui.present.run_rows import LIVE, RunRow, row_of
from moco_tui.present.study_rows import StudyRows

_RECOUNT_SECONDS = 10.0
"""How often the files of a run are counted that may change at any moment."""


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
        self._counted: dict[str, tuple[int, float]] = {}  # stamp, and when the files were counted

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

    def count_sizes(self, *, seconds: float = 0.2) -> None:
        """Count the files of runs whose size is not known, or may be another by now.

        For a thread of its own, behind the list: of thousands of runs some at each call.

        Args:
            seconds: about how long it may take.
        """
        end, found = time.monotonic() + seconds, []
        for row in list(self.rows.values()):
            now = time.monotonic()
            if now >= end:
                break
            if self._is_due(row.entry, now):
                self._counted[row.id] = row.entry.stamp, now
                found.append(counted(row.entry, size_of(self.root / row.id)))
        if found:
            with self.lock:
                self.history.note_sizes(found)
                self._last_full = float("-inf")  # the next refresh shows them

    def _is_due(self, entry: Entry, now: float) -> bool:
        stamp, when = self._counted.get(entry.id, (0, -_RECOUNT_SECONDS))
        if entry.status in LIVE:  # its files grow, and its stamp changes each second
            return now - when >= _RECOUNT_SECONDS
        # A damaged index could go on without the size: each state of a run is counted once.
        return needs_count(entry) and stamp != entry.stamp

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
            entry.size, entry.size_stamp = row.entry.size, row.entry.size_stamp
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
