"""The index of the history on disk: a TinyDB with one small document a run.

Two tables: ``runs`` holds an entry under the id of each run, ``meta`` one document with the schema,
the ``base_mark`` of the defaults that the entries differ from, and a check sum of ``runs``. The
stamp of an entry says that its run has not changed, but not that the entry has not: a disk or an
editor may have changed a value, and the list would show it for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.errors import RunError
from engine.history.changes import INDEX_NAME, is_large, leave_hint
from engine.history.entry import UNSURE, Entry, base_mark, read_counted, to_document
from engine.history.storage import AtomicStorage, DamagedStoreError, RawTables, put_raw
from engine.runs.folder import RunFolder
from engine.runs.migrations import Migration, upgrade

RUNS = "runs"
META = "meta"
META_ID = "index"

SCHEMA = 1
MIGRATIONS: Mapping[int, Migration] = {}
"""For every older schema of the index the step to the next, on ``{"schema", "base", "runs"}``."""


Documents = dict[str, dict[str, Any]]


class NewerIndexError(RunError):
    """The index is of a newer version: it is neither read nor written."""


class StoredIndex(NamedTuple):
    """What the file holds.

    Attributes:
        documents: those of the runs by id; empty where they were made with other defaults.
        migrated: they are of an older schema on disk.
    """

    documents: Documents
    migrated: bool


def read_index(storage: AtomicStorage) -> StoredIndex | None:
    """The documents of the index in the present schema; None when there is no file.

    Raises:
        DamagedStoreError: when the file is no index, or not as it was written.
        NewerIndexError: when it is of a newer schema.
        RunError: when it cannot be read.
    """
    tables = storage.read_tables()
    if tables is None:
        return None
    path = storage.path
    meta = _meta(_decoded(tables.get(META, b"{}"), path).get(META_ID), path)
    if meta["schema"] == SCHEMA and meta.get("base") != base_mark():
        return StoredIndex({}, migrated=False)
    runs = tables.get(RUNS, msgspec.Raw(b"{}"))
    if meta["schema"] == SCHEMA and meta.get("check") != check_of(runs):
        raise DamagedStoreError(f"{path} is damaged: it was changed.")
    try:
        payload = upgrade(
            {**meta, RUNS: _decoded(runs, path)}, current=SCHEMA, steps=MIGRATIONS, what=str(path)
        )
        documents: Documents = payload[RUNS] if payload.get("base") == base_mark() else {}
    # Whatever a migration stumbles over: it knows the layout that an older version wrote.
    except Exception as error:
        raise DamagedStoreError(f"{path} is damaged: it is no index.") from error
    return StoredIndex(documents, migrated=meta["schema"] != SCHEMA)


def check_of(runs: bytes | msgspec.Raw) -> str:
    """A check sum of the table of the runs, as the bytes that the file has for it."""
    return f"{zlib.crc32(bytes(runs)):08x}"


def _decoded(raw: bytes | msgspec.Raw, path: Path) -> Documents:
    """A table, decoded.

    Raises:
        DamagedStoreError: when it is none.
    """
    try:
        return _TABLE.decode(bytes(raw))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise DamagedStoreError(f"{path} is damaged: it is no index.") from None


_TABLE: msgspec.json.Decoder[Documents] = msgspec.json.Decoder(Documents)


def _meta(meta: Mapping[str, Any] | None, path: Path) -> dict[str, Any]:
    """The document on the index itself, of this schema or of one that can be migrated.

    Raises:
        DamagedStoreError: when it is none.
        NewerIndexError: when it is of a newer schema.
    """
    schema = None if meta is None else meta.get("schema")
    if meta is None or type(schema) is not int:  # not isinstance: true is no version
        raise DamagedStoreError(f"{path} is damaged: it is no index.")
    if schema > SCHEMA:
        try:
            upgrade(dict(meta), current=SCHEMA, steps={}, what=str(path))
        except RunError as error:
            raise NewerIndexError(str(error)) from None
    if schema < SCHEMA and schema not in MIGRATIONS:
        raise DamagedStoreError(f"{path} is damaged: no version has written schema {schema}.")
    return dict(meta)


def write_index(
    root: Path,
    put: Mapping[str, Entry],
    drop: Iterable[str] | None,
    *,
    timeout: float,
) -> None:
    """Put entries into the index of a folder and drop others, in one write.

    Args:
        root: the folder of the run folders.
        put: entries by id. One whose stamp is ``UNSURE`` is left out: what the index has of its run
            stays, and has another stamp than the run.
        drop: ids to drop; None drops everything that is not in ``put``.
        timeout: seconds to wait for other processes.

    Raises:
        DamagedStoreError: when the file is no index, or not as it was written; it is left as it is.
        RunBusyError: when another process holds the index for longer.
        RunError: when it is of another schema, or cannot be written.
    """
    storage = AtomicStorage(root / INDEX_NAME, timeout=timeout)

    def change(tables: RawTables) -> None:  # called with the lock held
        meta: dict[str, Any] = {}
        if tables:
            raw = msgspec.json.encode(tables.get(META, {}))
            meta = _meta(_decoded(raw, storage.path).get(META_ID), storage.path)
        stale = meta.get("schema") != SCHEMA or meta.get("base") != base_mark()
        if drop is None or stale:
            # Entries of another layout, or against other defaults, cannot stand beside new ones;
            # the next list makes them anew.
            tables[RUNS] = {}
        # Else a new check sum would vouch for what was damaged.
        elif meta.get("check") != check_of(msgspec.json.encode(tables.get(RUNS, {}))):
            raise DamagedStoreError(f"{storage.path} is damaged: it was changed.")
        # One after the other: of a hundred thousand at once they would take 300 MB.
        documents = ((i, to_document(e)) for i, e in put.items() if e.stamp != UNSURE)
        put_raw(tables, RUNS, documents, drop or ())
        check = check_of(msgspec.json.encode(tables[RUNS]))
        new = {META_ID: {"schema": SCHEMA, "base": base_mark(), "check": check}}
        put_raw(tables, META, new.items())

    storage.edit(change)


def note_change(folder: RunFolder, timeout: float) -> None:
    """Bring the index up to date with one run; an ``OnChange`` of the run's owner.

    A large one is left to the next list, with a hint; see ``engine.history.changes``.

    Args:
        folder: the run; its root is the folder above.
        timeout: seconds to wait for other processes.

    Raises:
        RunBusyError: when other processes hold the index for longer than ``timeout`` seconds.
        RunError: when the index cannot be written. The folder is right in any case, and the next
            list reconciles the index with it.
    """
    root = folder.path.parent
    if is_large(root):
        leave_hint(root, folder.id)
        return
    entry = read_counted(folder)
    if entry is not None and entry.stamp != UNSURE:
        write_index(root, {entry.id: entry}, (), timeout=timeout)
