"""The entries of all runs of a folder: read from the index and reconciled with the folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from engine.errors import RunBusyError, RunError
from engine.files import reason
from engine.history.entry import Entry, base_mark, from_document, read_entry, stamp_of
from engine.history.index import (
    INDEX_NAME,
    META,
    META_ID,
    MIGRATIONS,
    RUNS,
    SCHEMA,
    write_index,
)
from engine.history.storage import AtomicStorage, DamagedStoreError, KeyedTable, KeyedTinyDB
from engine.runs.folder import RunFolder
from engine.runs.migrations import upgrade
from engine.runs.record import ACTIVE
from engine.runs.root import candidates, folder_names

_LIST_TIMEOUT = 0.2  # seconds that a list waits for other processes before it does without writing


class ReconciledIndex:
    """The entries of the runs of one folder, in memory and in the index. For one thread.

    A list never fails for the sake of the index: an index that is missing, damaged, locked or not
    writable costs reading the records.

    Args:
        root: the folder of the run folders; it need not exist.
        read_only: write nothing.
        timeout: seconds that a change of the index waits for other processes.

    Attributes:
        read_only: as given; True as well after a write of the index has failed, so that not every
            list fails again and adds a notice.
        notices: lines for the person (an index that was rebuilt, or could not be written).
        left_out: a sentence for each entry of the folder that cannot be looked at now; also among
            the notices, once.
    """

    def __init__(self, root: Path, *, read_only: bool, timeout: float) -> None:
        self.root = root
        self.read_only = read_only
        self.notices: list[str] = []
        self._timeout = timeout
        self._db = KeyedTinyDB(root / INDEX_NAME, timeout=timeout, read_only=read_only)
        self._entries: dict[str, Entry] | None = None  # None: the index was not read yet
        self._unsaved: set[str] = set()  # ids whose documents the index lacks
        self._gone: set[str] = set()  # ids that the index has and the folder has not
        self.left_out: tuple[str, ...] = ()

    @property
    def table(self) -> KeyedTable:
        """The TinyDB table of the index: one document a run, under the run's id."""
        table = self._db.table(RUNS)
        assert isinstance(table, KeyedTable)
        return table

    @property
    def _storage(self) -> AtomicStorage:
        storage = self._db.storage
        assert isinstance(storage, AtomicStorage)
        return storage

    @property
    def is_saved(self) -> bool:
        """True when the index on disk holds what the last ``refresh`` returned."""
        return not (self._unsaved or self._gone)

    def refresh(self) -> dict[str, Entry]:
        """The entries of all runs by id, after bringing memory in line with the folders, and the
        index with memory.

        Raises:
            RunError: when the folder cannot be read, or the index is of a newer schema.
        """
        if self._entries is None:
            self._entries = self._load()
        old_entries = self._entries
        entries: dict[str, Entry] = {}
        base = str(self.root)
        skipped: dict[str, OSError] = {}
        for name in candidates(self.root, skipped):
            try:
                stamp = stamp_of(f"{base}/{name}")
            except OSError as error:  # one that cannot be looked into does not hide the others
                skipped[name] = error
                continue
            if stamp is None:  # no run folder, or gone since it was listed
                continue
            old = old_entries.get(name)
            if old is not None and old.stamp == stamp:
                entries[name] = old
                continue
            entry = read_entry(RunFolder(self.root / name))
            if entry is None:
                continue
            entries[name] = entry
            # The record of an active run changes each second, and a list would write the index each
            # time; its owner writes the document, at each change of state.
            if old is None or entry.status not in ACTIVE:
                self._unsaved.add(name)
        self._note_skipped(skipped)
        # What cannot be looked at now may be there again: the index keeps it.
        self._gone.update(old_entries.keys() - entries.keys() - skipped.keys())
        self._entries = entries
        self._save(entries)
        return entries

    def _note_skipped(self, skipped: Mapping[str, OSError]) -> None:
        """Add a notice for each entry of the folder that is left out; once, until it was well."""
        sentences = [
            f"{self.root / name} is left out: {reason(error)}."
            for name, error in sorted(skipped.items())
        ]
        self.notices += [sentence for sentence in sentences if sentence not in self.left_out]
        self.left_out = tuple(sentences)

    def _save(self, entries: dict[str, Entry]) -> None:
        if self.read_only or self.is_saved:
            return
        put = {id_: entries[id_] for id_ in self._unsaved if id_ in entries}
        try:
            write_index(self.root, put, self._gone - entries.keys(), timeout=_LIST_TIMEOUT)
        except RunBusyError:
            return  # tried again with the next list
        except RunError as error:
            self.read_only = True
            self.notices.append(f"The index is not kept up to date: {error}")
            return
        self._mark_saved()

    def _mark_saved(self) -> None:
        self._unsaved.clear()
        self._gone.clear()

    def put(self, entry: Entry) -> None:
        """Write the document of a run now.

        Raises:
            RunError: when the index cannot be written in time.
        """
        self._write({entry.id: entry}, ())
        if self._entries is not None:
            self._entries[entry.id] = entry

    def drop(self, id_: str) -> None:
        """Drop the document of a run; with the next list when another process has the index.

        Raises:
            RunError: when the index cannot be written.
        """
        if self._entries is not None:
            self._entries.pop(id_, None)
        with contextlib.suppress(RunBusyError):
            self._write({}, (id_,))

    def _write(self, put: Mapping[str, Entry], drop: Iterable[str]) -> None:
        self.check_writable()
        try:
            write_index(self.root, put, drop, timeout=self._timeout)
        except DamagedStoreError as error:
            self._set_aside(error)
            self._entries = {}  # so that the next refresh counts every run as unsaved
            write_index(self.root, put, drop, timeout=self._timeout)

    def check_writable(self) -> None:
        """Refuse a change when the folder is open for reading only.

        Raises:
            RunError: when it is.
        """
        if self.read_only:
            raise RunError(f"{self.root} is open for reading only.")

    def rebuild(self) -> int:
        """Make the index anew from the run folders; returns how many runs it holds.

        A damaged index, or one of another schema, is set aside beside it.

        Raises:
            RunError: when the folder cannot be read or the index cannot be written.
        """
        self.check_writable()
        entries = {}
        skipped: dict[str, OSError] = {}
        for name in folder_names(self.root, skipped):
            entry = read_entry(RunFolder(self.root / name))
            if entry is not None:
                entries[name] = entry
        self._note_skipped(skipped)
        if self._storage.path.exists():
            self._set_aside_unusable()
        write_index(self.root, entries, None, timeout=self._timeout)
        self._entries = entries
        self._mark_saved()
        return len(entries)

    def _set_aside_unusable(self) -> None:
        """Rename the file when ``write_index`` would refuse it; a usable one is overwritten."""
        storage = self._storage
        with storage.lock():
            try:
                tables = storage.read() or {}
                usable = tables.get(META, {}).get(META_ID, {}).get("schema") == SCHEMA
            except DamagedStoreError:
                usable = False
            if not usable:
                self.notices.append(f"The former index is kept as {storage.set_aside()}.")

    def _load(self) -> dict[str, Entry]:
        """The entries of the index; none, and a notice, when it is damaged or cannot be read."""
        try:
            return self._read()
        except DamagedStoreError as error:
            self._set_aside(error)
        except RunError as error:
            if not isinstance(error.__cause__, OSError):  # of a newer version, which is refused
                raise
            # Perhaps another user's: it is left as it is, and the records are read in its place.
            self.read_only = True
            self.notices.append(f"{error} The run folders are read without it.")
        return {}

    def _set_aside(self, error: DamagedStoreError) -> None:
        """Rename a damaged index, and add a notice. With ``read_only`` there is only the notice."""
        kept = ""
        if not self.read_only:
            with contextlib.suppress(RunError), self._storage.lock():
                try:
                    self._read()
                    return  # another process has repaired it since
                except DamagedStoreError:
                    kept = f"; the old file is kept as {self._storage.set_aside().name}"
        self.notices.append(f"{error} It is made anew from the run folders{kept}.")

    def _read(self) -> dict[str, Entry]:
        """The entries of the index; none where it is missing or of other defaults.

        Raises:
            DamagedStoreError: when the file is no index.
            RunError: when it cannot be read, or is of a newer schema.
        """
        path = self._storage.path
        tables = self._storage.read()
        if tables is None:
            if folder_names(self.root):
                self.notices.append(f"{path} was missing; it is made anew.")
            return {}
        meta = tables.get(META, {}).get(META_ID)
        if meta is None:
            raise _no_index(path)
        payload = upgrade(
            {**meta, RUNS: tables.get(RUNS, {})},
            current=SCHEMA,
            steps=MIGRATIONS,
            what=str(path),
        )
        if payload.get("base") != base_mark():
            return {}  # the entries differ from defaults of another version: read the records
        entries = _decode(payload[RUNS], path)
        if meta.get("schema") != SCHEMA:  # migrated in memory; not yet on disk
            self._unsaved.update(entries)
        return entries


def _decode(documents: Mapping[str, Mapping[str, object]], path: Path) -> dict[str, Entry]:
    entries = {}
    try:
        for id_, document in documents.items():
            entry = from_document(document)
            # One that was edited by hand is left out, and read from its folder.
            if entry.id == id_:
                entries[id_] = entry
    except (msgspec.ValidationError, TypeError, AttributeError):
        raise _no_index(path) from None
    return entries


def _no_index(path: Path) -> DamagedStoreError:
    return DamagedStoreError(f"{path} is damaged: it is no index.")
