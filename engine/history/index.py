"""The index of the history on disk: a TinyDB with one small document a run.

Two tables: ``runs`` holds an entry under the id of each run, ``meta`` one document with the schema
and the ``base_mark`` of the defaults that the entries differ from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from engine.history.entry import Entry, base_mark, read_entry, to_document
from engine.history.storage import AtomicStorage, DamagedStoreError, RawTables, put_raw
from engine.runs.folder import RunFolder
from engine.runs.migrations import Migration, upgrade

INDEX_NAME = "history.json"
RUNS = "runs"
META = "meta"
META_ID = "index"

SCHEMA = 1
MIGRATIONS: Mapping[int, Migration] = {}
"""For every older schema of the index the step to the next, on ``{"schema", "base", "runs"}``."""


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
        put: entries by id.
        drop: ids to drop; None drops everything that is not in ``put``.
        timeout: seconds to wait for other processes.

    Raises:
        DamagedStoreError: when the file is no database; it is left as it is.
        RunBusyError: when another process holds the index for longer.
        RunError: when it is of another schema, or cannot be written.
    """
    storage = AtomicStorage(root / INDEX_NAME, timeout=timeout)
    documents = {id_: to_document(entry) for id_, entry in put.items()}

    def change(tables: RawTables) -> None:  # called with the lock held
        raw = tables.get(META, {}).get(META_ID)
        meta = {} if raw is None else msgspec.json.decode(raw)
        if tables.get(RUNS) and not isinstance(meta.get("schema"), int):
            raise DamagedStoreError(f"{storage.path} is damaged: it is no index.")
        if meta.get("schema", 0) > SCHEMA:  # upgrade raises the sentence for a newer schema
            upgrade(meta, current=SCHEMA, steps={}, what=str(storage.path))
        stale = meta.get("schema") != SCHEMA or meta.get("base") != base_mark()
        if drop is None or stale:
            # Entries of another layout, or against other defaults, cannot stand beside new ones;
            # the next list makes them anew.
            tables[RUNS] = {}
        new = {META_ID: {"schema": SCHEMA, "base": base_mark()}}
        put_raw(tables, META, new)
        put_raw(tables, RUNS, documents, drop or ())

    storage.edit(change)


def note_change(folder: RunFolder, timeout: float) -> None:
    """Bring the index up to date with one run; an ``OnChange`` of the run's owner.

    Args:
        folder: the run; its root is the folder above.
        timeout: seconds to wait for other processes.

    Raises:
        RunBusyError: when other processes hold the index for longer than ``timeout`` seconds.
        RunError: when the index cannot be written. The folder is right in any case, and the next
            list reconciles the index with it.
    """
    entry = read_entry(folder)
    if entry is not None:
        write_index(folder.path.parent, {entry.id: entry}, (), timeout=timeout)
