"""All runs of a folder as rows for the table: read once, afterwards only what changed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from engine.errors import UserError
from engine.history.changes import INDEX_NAME, HintReader, is_large
from engine.history.entry import Entry, counted, read_entry
from engine.history.history import History, needs_count
from engine.runs import RunFolder
from engine.runs.folder_size import size_of
from engine.runs.root import candidates
from moco_tui.present import fmt
from moco_tui.present.run_rows import LIVE, RunRow, row_of
from moco_tui.present.slurm_jobs import WAITS, SlurmJobs
from moco_tui.present.study_rows import StudyRows

_RECOUNT_SECONDS = 10.0
"""How often the files of a run are counted that may change at any moment."""
_FULL_SECONDS = 10.0
_SHARE = 0.02  # of the time, that looks at every folder may take
_QUICK_SECONDS = 0.25  # a look at every folder that takes less is taken whenever one may be wanted


class RunList:
    """The rows of a runs folder.

    ``refresh`` may be called from a thread of its own; ``rows`` is replaced as a whole, so that
    a reader always sees one state. One thread at a time may refresh.

    Args:
        root: the folder of the run folders.
        read_only: leave the index as it is.
        monotonic: seconds of a clock.

    Attributes:
        rows: by id.
        version: counts the changes of ``rows``.
    """

    def __init__(
        self,
        root: Path,
        *,
        read_only: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = root
        self.rows: dict[str, RunRow] = {}
        self.version = 0
        self.loaded = False
        self.error = ""
        self.history = History(root, read_only=read_only)
        self.lock = threading.Lock()
        """Held while the history is used: it may be used by one thread at a time."""
        self.studies = StudyRows(root)
        self.jobs = SlurmJobs(root)
        self._monotonic = monotonic
        self._hints = HintReader(root)
        self._folder_stamp = self._index_stamp = -1  # at the last reading
        self._last_full = float("-inf")
        self._full_cost = 0.0  # seconds that the last look at every folder took
        self._strangers: set[str] = set()  # names in the folder that are no runs
        self._live_ids: frozenset[str] = frozenset()
        self._due: set[str] = set()  # ids of runs whose files may have to be counted
        self._may_wait: frozenset[str] = frozenset()  # in the queue of Slurm
        self._sized: dict[str, Entry] = {}  # counted since the last refresh
        self._steps: dict[str, int] = {}  # by id the version in which a run went further
        self._whole_version = 0  # the last one in which more than that has changed
        self._steps_since = False  # since it was worked out what belongs to studies
        self._counted: dict[str, tuple[int, float]] = {}  # stamp, and when the files were counted

    def matcher(self, text: str) -> Callable[[Entry], bool]:
        """What tells the runs that a filter lets through.

        Raises:
            ConfigError: when the text is no filter.
        """
        # The first screen filters nothing, and every import delays it.
        from engine.history.filters import metric_names, parse_filter

        return parse_filter(text, metrics=metric_names(row.entry for row in self.rows.values()))

    def refresh(self, *, full_every: float = _FULL_SECONDS) -> bool:
        """Look for changes; True when any row changed, or ``error``.

        Live runs are looked at every time, others when the folder, its index or a hint names them,
        and every folder after ``full_every`` seconds, since what changes within a run need not
        touch any of these. Where that takes long it is done less often: of 100,000 runs a look at
        every folder takes seconds, in which the interpreter does little else.
        """
        with self.lock:
            now = self._monotonic()
            rest = full_every and max(full_every, self._full_cost / _SHARE)
            if not self.loaded or now - self._last_full >= rest:
                return self._take_all()
            if not is_large(self.root):  # whoever changes a run writes the index at once
                if (self._folder_stamp, self._index_stamp) != self._stamps():
                    return self._take_all()
                return self._take_some(set())
            wanted = self._hints.read()
            if wanted is None:
                return self._take_all()
            if self._folder_stamp != (stamp := _mtime(self.root)):
                try:
                    wanted |= self._other_names()
                except UserError:
                    return self._take_all()  # which says what is wrong
                self._folder_stamp = stamp
            return self._take_some(wanted)

    def _stamps(self) -> tuple[int, int]:
        return _mtime(self.root), _mtime(self.root / INDEX_NAME)

    def _other_names(self) -> set[str]:
        """Names of folders that came or went since they were listed."""
        names = set(candidates(self.root))
        return (names ^ self.rows.keys()) - self._strangers

    def _take_all(self) -> bool:
        """Look at every folder."""
        self._hints.skip()
        began = self._monotonic()
        rows, error = self._all()
        self._last_full = self._monotonic()
        self._full_cost = self._last_full - began
        # Reading brings the index up to date, which changes its time.
        self._folder_stamp, self._index_stamp = self._stamps()
        self._strangers.clear()
        self._sized.clear()
        rows = self.jobs.told(self._related(rows))
        if rows == self.rows and error == self.error and self.loaded:
            return False
        self.error = error
        self._show(rows, None)
        return True

    def _take_some(self, wanted: set[str]) -> bool:
        """Look at the live runs and those that are wanted."""
        before = self.rows
        changed: dict[str, RunRow | None] = {}
        for id_ in self._live_ids | wanted:
            old = before.get(id_)
            row = self._looked_at(id_, old)
            if row is not old:
                changed[id_] = row
        for id_, entry in self._sized.items():
            old = changed.get(id_, before.get(id_))
            if old is not None and old.entry.stamp == entry.stamp:
                sizes = {"size": entry.size, "size_stamp": entry.size_stamp}
                new = row_of(replace(old.entry, **sizes))
                changed[id_] = new
        self._sized.clear()
        changed |= self.jobs.news(lambda id_: changed.get(id_, before.get(id_)))
        steps = all(
            row is not None and (old := before.get(id_)) is not None and _place(row) == _place(old)
            for id_, row in changed.items()
        )
        late = self.studies.is_late and (self._steps_since or bool(changed))
        if not changed and not late:
            return False
        if steps and not late:
            self._steps_since = True
            rows = dict(before)
            for id_, row in changed.items():
                if row is not None:
                    old = before[id_]
                    place = {"study": old.study, "used_by": old.used_by, "members": old.members}
                    rows[id_] = replace(row, **place)
            self._show(rows, frozenset(changed))
            return True
        rows = dict(before)
        for id_, row in changed.items():
            if row is None:
                rows.pop(id_, None)
            else:
                rows[id_] = row
        rows = self._related(rows)
        if not changed and rows == before:
            return False
        self._show(rows, None)
        return True

    def _related(self, rows: dict[str, RunRow]) -> dict[str, RunRow]:
        self._steps_since = False
        return self.studies.related(rows)

    def _show(self, rows: dict[str, RunRow], stepped: frozenset[str] | None) -> None:
        self.rows = rows
        if stepped is None:  # else the same are live as before
            self._live_ids = frozenset(row.id for row in rows.values() if row.status in LIVE)
            self._due = {row.id for row in rows.values() if needs_count(row.entry)}
            self._may_wait = frozenset(row.id for row in rows.values() if row.status in WAITS)
            self._whole_version = self.version + 1
            self._steps = {}
        else:  # replaced, as who reads them has no lock
            self._steps = {**self._steps, **dict.fromkeys(stepped, self.version + 1)}
        self.version += 1
        self.loaded = True

    def stepped_since(self, version: int) -> list[RunRow] | None:
        """The rows that have changed since a version, where nothing else has.

        Nothing, that is, that says where rows stand: no state, no name, nothing that belongs to
        others. None where more has changed. Waits for no refresh.
        """
        rows, steps = self.rows, self._steps
        if version < self._whole_version:
            return None
        return [rows[id_] for id_, at in steps.items() if at > version and id_ in rows]

    def ask_for_jobs(self) -> None:
        """Have Slurm asked, behind the list, for the runs that were submitted to it."""
        self.jobs.look_behind(self._may_wait)

    def count_sizes(self, *, seconds: float = 0.2) -> None:
        """Count the files of runs whose size is not known, or may be another by now.

        For a thread of its own, behind the list: of thousands of runs some at each call.

        Args:
            seconds: about how long it may take.
        """
        end, found = self._monotonic() + seconds, []
        rows = self.rows
        for id_ in self._due | self._live_ids:
            now = self._monotonic()
            if now >= end:
                break
            row = rows.get(id_)
            if row is not None and self._is_due(row.entry, now):
                self._counted[id_] = row.entry.stamp, now
                found.append(counted(row.entry, size_of(self.root / id_)))
            self._due.discard(id_)
        if found:
            with self.lock:
                self.history.note_sizes(found)
                # The next refresh shows them.
                if self._full_cost < _QUICK_SECONDS:
                    self._last_full = float("-inf")
                else:
                    self._sized |= {entry.id: entry for entry in found}

    def _is_due(self, entry: Entry, now: float) -> bool:
        stamp, when = self._counted.get(entry.id, (0, -_RECOUNT_SECONDS))
        if entry.status in LIVE:  # its files grow, and its stamp changes each second
            return now - when >= _RECOUNT_SECONDS
        # A damaged index could go on without the size: each state of a run is counted once.
        return needs_count(entry) and stamp != entry.stamp

    def _all(self) -> tuple[dict[str, RunRow], str]:
        """Every run, and why not; the rows of those that have not changed are kept as they are."""
        try:
            entries, error = self.history.list(), ""
        except UserError as failure:
            entries, error = [], fmt.clean(str(failure))
        rows = {}
        for entry in entries:
            old = self.rows.get(entry.id)
            rows[entry.id] = old if old is not None and old.entry == entry else row_of(entry)
        return rows, error

    def _looked_at(self, id_: str, old: RunRow | None) -> RunRow | None:
        """A run as its folder has it now: the row of before where nothing has changed."""
        folder = RunFolder(self.root / id_)
        entry = read_entry(folder)
        if entry is None:  # deleted, or never a run
            if old is None:
                self._strangers.add(id_)
            return None
        if old is not None:
            entry.size, entry.size_stamp = old.entry.size, old.entry.size_stamp
        if entry.status in LIVE:  # the record says so; its process may be gone all the same
            with contextlib.suppress(UserError):
                entry.status = folder.status()
        return old if old is not None and entry == old.entry else row_of(entry)


def _place(row: RunRow) -> tuple[object, ...]:
    """What says where a row stands among others, and what is said of it elsewhere."""
    return row.status, row.name, row.kind, row.parent, row.entry.place, row.entry.study


def _mtime(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - called every second: no Path in between
    except OSError:
        return 0
