"""The history: all runs of a folder, listed, searched, annotated, deleted and restored.

The run folders are the truth. Beside them a TinyDB index (``history.json``) keeps one small
document a run, so that a list of thousands needs no reading of thousands of records. Whatever
happens to the index, the next list is right: it looks at every folder's times and reads again what
changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from tinydb.queries import QueryLike
from tinydb.table import Document

from engine.errors import RunBusyError, RunError
from engine.files import reason
from engine.history.entry import Entry, base_mark, from_document, read_entry, stamp_of, to_document
from engine.history.filters import metric_names, parse_filter, sort_entries
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
from engine.runs.run_lock import RunLock
from engine.text import clean_text

TRASH_NAME = ".trash"

Entries = list[Entry]
Documents = list[Document]


class History:
    """The runs of one folder. One thread at a time may use an object.

    Args:
        root: the folder of the run folders; it need not exist.
        read_only: write nothing, not even the index.
        timeout: seconds that a change of the index waits for other processes.

    Attributes:
        notices: lines for the person (an index that was rebuilt, or could not be written); whoever
            shows them clears the list.
    """

    def __init__(self, root: Path, *, read_only: bool = False, timeout: float = 10.0) -> None:
        self.root = root
        self.read_only = read_only
        self.notices: list[str] = []
        self._timeout = timeout
        self._db = KeyedTinyDB(root / INDEX_NAME, timeout=timeout, read_only=read_only)
        self._entries: dict[str, Entry] | None = None
        self._unsaved: set[str] = set()
        self._gone: set[str] = set()

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

    # -------------------------------------------------------------------------------- looking

    def list(self, query: str = "", *, sort: str = "-created") -> Entries:
        """The runs that a filter lets through, as they are now.

        Args:
            query: see ``engine.history.filters``; empty for all.
            sort: a column, a config key or a metric; with ``-`` before it the largest first. Runs
                without the value come last.

        Raises:
            ConfigError: when the filter or the sort key cannot be understood.
            RunError: when the folder cannot be read, or the index is of a newer schema.
        """
        entries = self._refresh()
        shown = [self._shown(entry) for entry in entries.values()]
        if query.strip():
            matches = parse_filter(query, metrics=metric_names(shown))
            shown = [entry for entry in shown if matches(entry)]
        return sort_entries(shown, sort)

    def get(self, id_: str) -> Entry:
        """The entry of one run.

        Raises:
            RunError: when there is no run of that id.
        """
        entry = read_entry(self.folder(id_))
        if entry is None:
            raise RunError(f"There is no run {id_} in {self.root}.")
        return self._shown(entry)

    def search(self, condition: QueryLike) -> Documents:
        """Documents of the index that a TinyDB query matches, after bringing it up to date.

        The states of runs that go on are those of their last change; ``list`` derives ``lost``.
        """
        self._refresh()
        if self._unsaved or self._gone:  # it could not be written: answer from memory
            entries = (self._entries or {}).values()
            found = ((e.id, to_document(e)) for e in entries)
            return [Document(d, doc_id=i) for i, d in found if condition(d)]  # type: ignore[arg-type]
        return self.table.search(condition)

    def folder(self, id_: str) -> RunFolder:
        """The folder of a run of this history.

        Raises:
            RunError: when the text cannot be an id.
        """
        if not id_ or id_.startswith(".") or "/" in id_ or "\0" in id_:
            raise RunError(f"There is no run {clean_text(id_, 60)} in {self.root}.")
        return RunFolder(self.root / id_)

    def _trashed(self, id_: str) -> Path:
        path = self.root / TRASH_NAME / self.folder(id_).id
        if not path.is_dir():
            raise RunError(f"There is no run {clean_text(id_, 60)} in the trash of {self.root}.")
        return path

    def _shown(self, entry: Entry) -> Entry:
        if entry.status not in ACTIVE:
            return entry
        folder = self.folder(entry.id)
        with contextlib.suppress(RunError):
            if not folder.alive():
                return msgspec.structs.replace(entry, status=folder.status())
        return entry

    def _refresh(self) -> dict[str, Entry]:
        """Bring what is known in line with the folders, and the index with what is known."""
        if self._entries is None:
            self._entries = self._load()
        old_entries = self._entries
        entries: dict[str, Entry] = {}
        base = str(self.root)
        for name in candidates(self.root):
            stamp = stamp_of(f"{base}/{name}")
            if stamp is None:
                continue
            old = old_entries.get(name)
            if old is not None and old.stamp == stamp:
                entries[name] = old
                continue
            entry = read_entry(RunFolder(self.root / name))
            if entry is None:
                continue
            entries[name] = entry
            # The owner of a run that goes on writes its document; its record changes each second.
            if old is None or entry.status not in ACTIVE:
                self._unsaved.add(name)
        self._gone.update(old_entries.keys() - entries.keys())
        self._entries = entries
        self._save_what_changed()
        return entries

    def _save_what_changed(self) -> None:
        if self.read_only or not (self._unsaved or self._gone):
            return
        entries = self._entries or {}
        put = {id_: entries[id_] for id_ in self._unsaved if id_ in entries}
        try:
            write_index(self.root, put, self._gone - entries.keys(), timeout=0.2)
        except RunBusyError:
            return  # with the next list
        except RunError as error:
            self.read_only = True
            self.notices.append(f"The index is not kept up to date: {error}")
            return
        self._unsaved.clear()
        self._gone.clear()

    def _load(self) -> dict[str, Entry]:
        """The entries of the index; what is wrong with it is said in a line and made anew."""
        try:
            return self._read_index()
        except DamagedStoreError as error:
            self._set_aside(error)
            return {}

    def _set_aside(self, error: DamagedStoreError) -> None:
        """Keep a damaged index under another name, and say so."""
        kept = ""
        if not self.read_only:
            with contextlib.suppress(RunError), self._storage.lock():
                try:
                    self._read_index()
                    return  # another process has mended it meanwhile
                except DamagedStoreError:
                    kept = f"; the old file is kept as {self._storage.set_aside().name}"
        self.notices.append(f"{error} It is made anew from the run folders{kept}.")

    def _read_index(self) -> dict[str, Entry]:
        tables = self._storage.read()
        if tables is None:
            if folder_names(self.root):
                self.notices.append(f"{self._storage.path} was missing; it is made anew.")
            return {}
        damaged = DamagedStoreError(f"{self._storage.path} is damaged: it is no index.")
        meta = tables.get(META, {}).get(META_ID)
        if meta is None:
            raise damaged
        old = meta.get("schema") != SCHEMA
        payload = upgrade(
            {**meta, RUNS: tables.get(RUNS, {})},
            current=SCHEMA,
            steps=MIGRATIONS,
            what=str(self._storage.path),
        )
        if payload.get("base") != base_mark():
            return {}  # documents hold what differs from presets that have changed since
        entries = {}
        try:
            for id_, document in payload[RUNS].items():
                entry = from_document(document)
                if entry.id == id_:
                    entries[id_] = entry
        except (msgspec.ValidationError, TypeError, AttributeError):
            raise damaged from None
        if old:
            self._unsaved.update(entries)
        return entries

    # ------------------------------------------------------------------------------- changing

    def upsert(self, id_: str) -> Entry:
        """Write the document of a run anew from its folder.

        Raises:
            RunError: when there is no such run, or the index cannot be written in time.
        """
        entry = read_entry(self.folder(id_))
        if entry is None:
            raise RunError(f"There is no run {id_} in {self.root}.")
        self._write({id_: entry}, ())
        if self._entries is not None:
            self._entries[id_] = entry
        return self._shown(entry)

    def annotate(
        self,
        id_: str,
        *,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> Entry:
        """Change name, tags or note of a run; what is None stays.

        Raises:
            RunError: when there is no such run, or ``user.json`` cannot be written.
        """
        self._writable()
        self.folder(id_).set_user(name=name, tags=tags, note=note)
        with contextlib.suppress(RunBusyError):  # the next list brings the index up to date
            return self.upsert(id_)
        return self.get(id_)

    def delete(self, id_: str) -> None:
        """Move a run to the trash.

        Raises:
            RunBusyError: when a process works on it.
            RunError: when there is no such run, or it cannot be moved.
        """
        self._writable()
        folder = self.folder(id_)
        if not folder.record_path.exists():
            raise RunError(f"There is no run {id_} in {self.root}.")
        trash = self.root / TRASH_NAME
        lock = RunLock(folder.lock_path)
        if not lock.acquire() or folder.alive_elsewhere():
            lock.release()
            raise RunBusyError(f"The run {id_} is being worked on; stop it before deleting it.")
        try:
            trash.mkdir(exist_ok=True)
            folder.path.rename(trash / id_)
            now = time.time_ns()
            os.utime(
                trash / id_, ns=(now, now)
            )  # when it was deleted, finer than the system's clock tick
        except OSError as error:
            raise RunError(f"The run {id_} cannot be deleted: {reason(error)}.") from error
        finally:
            lock.release()
        self._forget(id_)

    def trash(self) -> Entries:
        """The deleted runs, the one that was deleted last first."""
        trash = self.root / TRASH_NAME
        dated = []
        for name in folder_names(trash):
            entry = read_entry(RunFolder(trash / name))
            if entry is not None:
                dated.append(((trash / name).stat().st_mtime_ns, name, entry))
        return [entry for _, _, entry in sorted(dated, key=lambda d: d[:2], reverse=True)]

    def restore(self, id_: str) -> Entry:
        """Move a run back from the trash.

        Raises:
            RunError: when it is not there, its place is taken, or it cannot be moved.
        """
        self._writable()
        source, target = self._trashed(id_), self.root / id_
        if target.exists():
            raise RunError(f"There is a run {id_} already; the one in the trash stays there.")
        try:
            source.rename(target)
        except OSError as error:
            raise RunError(f"The run {id_} cannot be restored: {reason(error)}.") from error
        with contextlib.suppress(RunBusyError):
            return self.upsert(id_)
        return self.get(id_)

    def purge(self, id_: str) -> None:
        """Remove a run from the trash for good.

        Raises:
            RunError: when it is not there or cannot be removed.
        """
        self._writable()
        path = self._trashed(id_)
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise RunError(f"The run {id_} cannot be removed: {reason(error)}.") from error

    def reindex(self) -> int:
        """Make the index anew from the run folders; returns how many runs it holds.

        A damaged index, or one of another schema, is set aside beside it.

        Raises:
            RunError: when the folder cannot be read or the index cannot be written.
        """
        self._writable()
        entries = {}
        for name in folder_names(self.root):
            entry = read_entry(RunFolder(self.root / name))
            if entry is not None:
                entries[name] = entry
        storage = self._storage
        if storage.path.exists():
            with storage.lock():
                try:
                    tables = storage.read() or {}
                    usable = tables.get(META, {}).get(META_ID, {}).get("schema") == SCHEMA
                except DamagedStoreError:
                    usable = False
                if not usable:
                    kept = storage.set_aside()
                    self.notices.append(f"The former index is kept as {kept}.")
        write_index(self.root, entries, None, timeout=self._timeout)
        self._entries = entries
        self._unsaved.clear()
        self._gone.clear()
        return len(entries)

    def _writable(self) -> None:
        if self.read_only:
            raise RunError(f"{self.root} is open for reading only.")

    def _write(self, put: Mapping[str, Entry], drop: Iterable[str]) -> None:
        self._writable()
        try:
            write_index(self.root, put, drop, timeout=self._timeout)
        except DamagedStoreError as error:
            self._set_aside(error)
            self._entries = {}
            write_index(self.root, put, drop, timeout=self._timeout)

    def _forget(self, id_: str) -> None:
        if self._entries is not None:
            self._entries.pop(id_, None)
        with contextlib.suppress(RunBusyError):
            self._write({}, (id_,))
