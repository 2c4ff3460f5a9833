"""The entries of all runs of a folder: read from the index and reconciled with the folders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import RunBusyError, RunError
from engine.files import is_gone, reason
from engine.history.changes import INDEX_NAME, is_large, leave_hint
from engine.history.entry import UNREADABLE, UNSURE, Entry, from_document, read_entry, stamp_of
from engine.history.index import RUNS, read_index, write_index
from engine.history.storage import AtomicStorage, DamagedStoreError, KeyedTable, KeyedTinyDB
from engine.runs.folder import RunFolder
from engine.runs.record import ACTIVE
from engine.runs.root import candidates, folder_names, is_run_id

_LIST_TIMEOUT = 0.2  # seconds that a list waits for other processes before it does without writing


class ReconciledIndex:
    """The entries of the runs of one folder, in memory and in the index. For one thread.

    A list never fails for the sake of the index: an index that is missing, damaged, locked, not
    writable or of a newer version costs reading the records.

    Args:
        root: the folder of the run folders; it need not exist.
        read_only: write nothing.
        timeout: seconds that a change of the index waits for other processes.

    Attributes:
        read_only: as given.
        index_failed: the index could not be read or written; it is left alone from then on, so that
            not every list fails again and adds a notice.
        notices: lines for the person (an index that was rebuilt, or could not be written).
    """

    def __init__(self, root: Path, *, read_only: bool, timeout: float) -> None:
        self.root = root
        self.read_only = read_only
        self.index_failed = False
        self.notices: list[str] = []
        self._timeout = timeout
        self._db = KeyedTinyDB(root / INDEX_NAME, timeout=timeout, read_only=read_only)
        self._entries: dict[str, Entry] | None = None  # None: the index was not read yet
        self._unsaved: set[str] = set()  # ids whose documents the index lacks
        self._gone: set[str] = set()  # ids that the index has and the folder has not
        self._left_out: dict[str, str] = {}  # a sentence by the name in the folder

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
        unsure = any(entry.stamp == UNSURE for entry in (self._entries or {}).values())
        return not (self._unsaved or self._gone or unsure)

    def refresh(self) -> dict[str, Entry]:
        """The entries of all runs by id, after bringing memory in line with the folders, and the
        index with memory.

        Raises:
            RunError: when the folder cannot be read.
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
            if old is not None:  # as it was last counted: a list does not look at every file
                entry.size, entry.size_stamp = old.size, old.size_stamp
            entries[name] = entry
            if entry.stamp == UNSURE:  # a read that failed is not kept
                continue
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

    def note_sizes(self, counted: Mapping[str, Entry]) -> None:
        """Keep the sizes of entries whose folders were counted; the next list writes them."""
        entries = self._entries or {}
        for id_, entry in counted.items():
            known = entries.get(id_)
            if known is None or (known.size, known.size_stamp) == (entry.size, entry.size_stamp):
                continue
            # Another one: who shows the list compares it with that of before.
            entries[id_] = msgspec.structs.replace(
                known, size=entry.size, size_stamp=entry.size_stamp
            )
            if known.status not in ACTIVE and known.stamp != UNSURE:
                self._unsaved.add(id_)

    def _note_skipped(self, skipped: Mapping[str, OSError]) -> None:
        """Add a notice for each entry of the folder that is left out; once, until it was well."""
        sentences = {
            name: f"{self.root / name} is left out: {reason(error)}."
            for name, error in sorted(skipped.items())
        }
        self.notices += [line for line in sentences.values() if line not in self.left_out]
        self._left_out = sentences

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for each entry of the folder that cannot be looked at now."""
        return tuple(self._left_out.values())

    def check_readable(self) -> None:
        """See ``History.check_readable``.

        Raises:
            RunError: see there.
        """
        why = [e.error for e in (self._entries or {}).values() if e.status == UNREADABLE]
        # Not whatever lies in the folder (``lost+found``): a run was made under such a name.
        why += [sentence for name, sentence in self._left_out.items() if is_run_id(name)]
        if why:
            one = len(why) == 1
            which = "It may be a run" if one else f"It and {len(why) - 1} more may be runs"
            what = "it" if one else "them"
            was = "was" if one else "were"
            raise RunError(
                f"{why[0]} {which} that {was} computed already; make {what} readable, or move "
                f"{what} out of {self.root}."
            )

    def _save(self, entries: dict[str, Entry]) -> None:
        if self.read_only or self.index_failed or not (self._unsaved or self._gone):
            return
        put = {id_: entries[id_] for id_ in self._unsaved if id_ in entries}
        try:
            write_index(self.root, put, self._gone - entries.keys(), timeout=_LIST_TIMEOUT)
        except RunBusyError:
            return  # tried again with the next list
        except RunError as error:
            self.index_failed = True
            self.notices.append(f"The index is not kept up to date: {error}")
            return
        self._mark_saved()

    def _mark_saved(self) -> None:
        self._unsaved.clear()
        self._gone.clear()

    def put(self, entry: Entry) -> None:
        """Write the document of a run now; into a large index with the next list.

        Raises:
            RunError: when the index cannot be written in time.
        """
        if self._is_left(entry.id):
            if self._entries is not None:
                self._entries[entry.id] = entry
                self._unsaved.add(entry.id)
            return
        self._write({entry.id: entry}, ())
        if self._entries is not None:
            self._entries[entry.id] = entry

    def drop(self, id_: str) -> None:
        """Drop the document of a run; with the next list when another process has the index, or it
        is large.

        Raises:
            RunError: when the index cannot be written.
        """
        if self._entries is not None:
            self._entries.pop(id_, None)
        if self._is_left(id_):
            self._gone.add(id_)
            return
        with contextlib.suppress(RunBusyError):
            self._write({}, (id_,))

    def _is_left(self, id_: str) -> bool:
        """Whether a change is left to the next list; then a hint tells others of it.

        Raises:
            RunError: when nothing may be written.
        """
        self.check_writable()
        if not is_large(self.root):
            return False
        leave_hint(self.root, id_)
        return True

    def _write(self, put: Mapping[str, Entry], drop: Iterable[str]) -> None:
        self.check_writable()
        try:
            write_index(self.root, put, drop, timeout=self._timeout)
        except DamagedStoreError as error:
            self._set_aside(error, self._timeout)
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
        if not is_gone(self._storage.path):
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
                read_index(storage)
            except RunError:  # also one that may not be read: who asks for it gets a new one
                self.notices.append(f"The former index is kept as {storage.set_aside()}.")

    def _load(self) -> dict[str, Entry]:
        """The entries of the index; none, and a notice, where it cannot be used."""
        try:
            return self._read()
        except DamagedStoreError as error:
            self._set_aside(error, _LIST_TIMEOUT)
        except RunError as error:
            # Perhaps another user's, or of a newer version: it is left as it is.
            self.index_failed = True
            self.notices.append(f"{error} The run folders are read without it.")
        return {}

    def _set_aside(self, error: DamagedStoreError, timeout: float) -> None:
        """Rename a damaged index, and add a notice. With ``read_only`` there is only the notice.

        Args:
            error: what is wrong with it.
            timeout: seconds to wait for other processes; after that nothing is renamed.
        """
        end = "It is made anew from the run folders."
        if not self.read_only:
            storage = AtomicStorage(self._storage.path, timeout=timeout)
            try:
                with storage.lock():
                    try:
                        self._read()
                        return  # another process has repaired it since
                    except DamagedStoreError:
                        end = f"{end[:-1]}; the old file is kept as {storage.set_aside().name}."
            except RunBusyError:
                pass  # tried again by whoever meets it next
            except RunError:
                self.index_failed = True
                end = "It cannot be replaced; the run folders are read without it."
        self.notices.append(f"{error} {end}")

    def _read(self) -> dict[str, Entry]:
        """The entries of the index; none where it is missing or of other defaults.

        Raises:
            DamagedStoreError: when the file is no index.
            RunError: when it cannot be read, or is of a newer schema.
        """
        path = self._storage.path
        stored = read_index(self._storage)
        if stored is None:
            if folder_names(self.root):
                self.notices.append(f"{path} was missing; it is made anew.")
            return {}
        entries = _decode(stored.documents, path)
        if stored.migrated:  # in memory; not yet on disk
            self._unsaved.update(entries)
        return entries


def _decode(documents: dict[str, dict[str, Any]], path: Path) -> dict[str, Entry]:
    """The entries of documents, which are taken out: both at once would need twice the memory."""
    entries = {}
    try:
        for id_ in list(documents):
            entry = from_document(documents.pop(id_))
            # One that was edited by hand is left out, and read from its folder.
            if entry.id == id_:
                entries[id_] = entry
    except (msgspec.MsgspecError, TypeError, AttributeError, ValueError, ArithmeticError):
        raise DamagedStoreError(f"{path} is damaged: it is no index.") from None
    return entries
