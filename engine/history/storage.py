"""TinyDB that many processes may use at once: an atomic storage and tables under a file lock.

TinyDB's JSONStorage rewrites the file in place, so a reader can see half of it and a crash leaves
half of it; and its read-modify-write cycles are not protected from other processes.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from tinydb import TinyDB
from tinydb.queries import QueryLike
from tinydb.storages import Storage
from tinydb.table import Document, Table

from engine.errors import RunBusyError, RunError
from engine.files import read_plain, reason, replace_file, unwritable
from engine.runs.file_lock import FileLock

RawTables = dict[str, dict[str, msgspec.Raw]]
"""Tables by name, documents by id, each document still encoded: enough to replace a few."""

LIMIT = 1 << 27  # bytes: about 300,000 runs. What is larger was not written here, and is not read.
# What stands there is no plain file, or a larger one: no later read will find a database in it.
_NO_DATABASE = frozenset({errno.ENODEV, errno.EISDIR, errno.EFBIG, errno.ENXIO, errno.ELOOP})

_T = TypeVar("_T")


class DamagedStoreError(RunError):
    """The file is there and does not hold a database."""


class AtomicStorage(Storage):
    """Keeps a TinyDB database in a JSON file that is replaced whole.

    Readers need no lock: they see the old or the new file, never a part. Writers that read first
    hold ``lock`` around both, which ``LockedTable`` and ``LockedTinyDB`` do.

    Args:
        path: the file; it and its folder need not exist.
        timeout: seconds to wait for the lock; may be changed at any time.
        read_only: refuse to write.
    """

    def __init__(self, path: str | Path, *, timeout: float = 10.0, read_only: bool = False) -> None:
        super().__init__()
        self.path = Path(path)
        self.timeout = timeout
        self.read_only = read_only
        # Beside the database, since that is replaced: a lock on the old file would keep nobody out.
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"), follow_folder=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes and threads from writing; may be nested.

        Raises:
            RunBusyError: when it is not to be had within ``timeout``.
            RunError: when the folder cannot be written, or its file system has no locks.
        """
        if self.read_only:
            raise RunError(f"{self.path} is open for reading only.")
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._lock.held(self.timeout))
            except RunBusyError:
                raise RunBusyError(f"{self.path} is being written by another process.") from None
            yield

    def read(self) -> dict[str, dict[str, Any]] | None:
        """The database, None when there is no file yet.

        Raises:
            DamagedStoreError: when the file holds no database (an empty file included).
            RunError: when it cannot be read.
        """
        data = self._bytes()
        return None if data is None else _decode(data, _TABLES, self.path)

    def read_tables(self) -> dict[str, msgspec.Raw] | None:
        """The tables by name, each as the bytes that the file has for it; None without a file.

        Raises:
            DamagedStoreError: when the file holds no database (an empty file included).
            RunError: when it cannot be read.
        """
        data = self._bytes()
        return None if data is None else _decode(data, _RAW_FILE, self.path)

    def edit(self, change: Callable[[RawTables], None]) -> None:
        """Change documents under the lock without decoding the others.

        One change in 10,000 documents: 9.2 ms, plain TinyDB 127 ms (tests/benchmarks/storage.py);
        a third of the time of ``read`` and ``write``.

        Args:
            change: is given the tables and changes them in place; what it raises leaves the file
                as it was.

        Raises:
            RunError: when the file is damaged, locked by another process or cannot be written.
        """
        with self.lock():
            data = self._bytes()
            tables: RawTables = {} if data is None else _decode(data, _RAW_TABLES, self.path)
            change(tables)
            self._replace(msgspec.json.encode(tables))

    def _bytes(self) -> bytes | None:
        try:
            return read_plain(self.path, LIMIT)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_DATABASE:
                raise DamagedStoreError(f"{self.path} is damaged: {reason(error)}.") from error
            raise RunError(f"{self.path} cannot be read: {reason(error)}.") from error

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Replace the database.

        Raises:
            RunError: when it cannot be written; the old one is intact.
        """
        self._replace(msgspec.json.encode(data))

    def _replace(self, data: bytes) -> None:
        if self.read_only:
            raise RunError(f"{self.path} is open for reading only.")
        if len(data) > LIMIT:
            raise RunError(f"{self.path} would have {len(data):,} bytes, more than {LIMIT:,}.")
        try:
            replace_file(self.path, data, follow_folder=True)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def set_aside(self) -> Path:
        """Rename a damaged file, so that it is kept and a new one can take its place.

        Returns:
            Its new path, unique by the time in nanoseconds.

        Raises:
            RunError: when it cannot be renamed.
        """
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        try:
            self.path.rename(aside)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return aside


# All check the shape of the file; the second leaves documents undecoded, the third tables.
_TABLES: msgspec.json.Decoder[dict[str, dict[str, Any]]] = msgspec.json.Decoder(
    dict[str, dict[str, dict[str, Any]]]
)
_RAW_TABLES: msgspec.json.Decoder[RawTables] = msgspec.json.Decoder(RawTables)
_RAW_FILE: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(
    dict[str, msgspec.Raw]
)


# ValueError: of bytes that are no UTF-8 and, in some versions of msgspec, of numbers with thousands
# of digits. RecursionError: of brackets nested too deep.
def _decode(data: bytes, decoder: msgspec.json.Decoder[_T], path: Path) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        state = "empty" if not data.strip() else "no database"
        raise DamagedStoreError(f"{path} is damaged: it is {state}.") from None


class LockedTable(Table):
    """A table whose every change reads and writes under the storage's lock, with no stale cache.

    TinyDB's own keeps the next free id and the results of queries in memory; both are wrong once
    another handle has written to the file. A storage without a lock (TinyDB's memory storage) is
    used as it is. Locks nest: an ``upsert`` inserts, and so locks, within its own lock.
    """

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the storage's lock, with nothing kept from before it was taken."""
        storage = self._storage
        hold = storage.lock() if isinstance(storage, AtomicStorage) else contextlib.nullcontext()
        with hold:
            self._next_id = None  # TinyDB then takes it from the file
            self.clear_cache()
            yield

    def _update_table(self, updater: Callable[[dict[int, Mapping[Any, Any]]], None]) -> None:
        with self._alone():
            super()._update_table(updater)

    def search(self, cond: QueryLike) -> list[Document]:
        """See ``Table.search``; never from memory.

        Cleared each time: TinyDB binds the capacity of its cache as a default argument of
        ``Table.__init__``, so the class attribute for it has no effect in a subclass.
        """
        self.clear_cache()
        return super().search(cond)

    # Locked beside _update_table: TinyDB chooses the new id before it gets there.
    def insert(self, document: Mapping[Any, Any]) -> int:
        """See ``Table.insert``."""
        with self._alone():
            return super().insert(document)

    def insert_multiple(self, documents: Iterable[Mapping[Any, Any]]) -> list[int]:
        """See ``Table.insert_multiple``."""
        with self._alone():
            return super().insert_multiple(documents)

    def upsert(self, document: Mapping[Any, Any], cond: QueryLike | None = None) -> list[int]:
        """See ``Table.upsert``: looking and inserting are one step."""
        with self._alone():
            return super().upsert(document, cond)


class KeyedTable(LockedTable):
    """A locked table whose document ids are texts, such as the ids of runs.

    Documents are inserted as ``Document(value, doc_id="k7m2qx")``; there is no next free id.
    """

    # TinyDB's annotations know whole numbers only; its code takes any class.
    document_id_class = cast("type[int]", str)

    def _get_next_id(self) -> int:
        raise ValueError("a document needs an id of its own: Document(value, doc_id=...)")

    def put(self, documents: Mapping[str, Mapping[str, Any]], drop: Iterable[str] = ()) -> None:
        """Insert or replace documents by id, and drop others, in one write."""
        gone = list(drop)  # an iterator would be empty the second time
        storage = self._storage
        # Around TinyDB, which would decode and encode every document for a change of one.
        if isinstance(storage, AtomicStorage):
            storage.edit(lambda tables: put_raw(tables, self.name, documents.items(), gone))
            self.clear_cache()
            return

        def updater(table: dict[Any, Mapping[Any, Any]]) -> None:
            for key in gone:
                table.pop(key, None)
            table.update(documents)

        self._update_table(updater)


def put_raw(
    tables: RawTables,
    name: str,
    documents: Iterable[tuple[str, Mapping[str, Any]]],
    drop: Iterable[str] = (),
) -> None:
    """Insert or replace documents of a table by id, and drop others; for ``edit``.

    Args:
        tables: by name, changed in place.
        name: of the table.
        documents: ids and documents, encoded one after the other.
        drop: ids.
    """
    table = tables.setdefault(name, {})
    for key in drop:
        table.pop(key, None)
    for key, document in documents:
        table[key] = msgspec.Raw(msgspec.json.encode(document))


class LockedTinyDB(TinyDB):
    """A TinyDB over ``AtomicStorage`` whose tables, and dropping of tables, hold the lock."""

    table_class = LockedTable
    default_storage_class = cast("type[Any]", AtomicStorage)

    def drop_tables(self) -> None:
        """See ``TinyDB.drop_tables``."""
        with self._lock():
            super().drop_tables()

    def drop_table(self, name: str) -> None:
        """See ``TinyDB.drop_table``."""
        with self._lock():
            super().drop_table(name)

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        storage = self.storage
        return storage.lock() if isinstance(storage, AtomicStorage) else contextlib.nullcontext()


class KeyedTinyDB(LockedTinyDB):
    """The same with ``KeyedTable``."""

    table_class = KeyedTable
