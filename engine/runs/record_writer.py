"""The record of an owned run: in memory, where threads change it, and in ``run.json``."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from engine.files import replace_file, unwritable
from engine.runs.record import Record, Status, encode_record

_RESERVE_BYTES = 16 * 1024  # a record takes a few kilobytes

_P = ParamSpec("_P")
_T = TypeVar("_T")


class RecordWriter:
    """Changes a record under a lock and replaces its file whole.

    ``_file_lock`` guards the file and ``frozen``; ``_record_lock`` guards the record and ``dirty``
    and is held for microseconds, so that a step of the trainer never waits for a disk. A thread
    that takes both takes ``_file_lock`` first.

    Args:
        path: ``run.json``.
        record: what the file holds now, or what shall replace it.

    Attributes:
        dirty: the record was changed by ``change_later`` and not saved since.
        frozen: the run was handed over; another process writes the record now.
    """

    def __init__(self, path: Path, record: Record) -> None:
        self._path = path
        self._record = record
        self._reserve = path.with_name(".reserve")
        self._file_lock = threading.Lock()
        self._record_lock = threading.Lock()
        self.dirty = False
        self.frozen = False

    @property
    def status(self) -> Status:
        """The state of the run."""
        return self._record.status

    @property
    def step(self) -> int:
        """Steps done."""
        return self._record.step

    def copy(self) -> Record:
        """The record as it is now: a copy."""
        with self._record_lock:
            now = copy.copy(self._record)
            # The only parts that are changed in place; all others are replaced.
            now.last, now.best = dict(now.last), dict(now.best)
            now.untrained = dict(now.untrained or {})
            return now

    def change(
        self,
        update: Callable[Concatenate[Record, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Change the record in memory; the caller saves it.

        Args:
            update: called with the record and the other arguments; what it returns is returned.
            args: for ``update``.
            kwargs: for ``update``.
        """
        with self._record_lock:
            return update(self._record, *args, **kwargs)

    def change_later(
        self,
        update: Callable[Concatenate[Record, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """The same for a change that may wait until the owner's thread saves the record."""
        with self._record_lock:
            self.dirty = True
            return update(self._record, *args, **kwargs)

    def change_later_if(
        self, update: Callable[Concatenate[Record, _P], bool], *args: _P.args, **kwargs: _P.kwargs
    ) -> None:
        """``change_later`` for an update that returns whether it has changed anything."""
        with self._record_lock:
            self.dirty = update(self._record, *args, **kwargs) or self.dirty

    def make_reserve(self) -> None:
        """Keep room on the disk for one last record: a run that fills it can then say why it ended.

        Raises:
            OSError: when the room cannot be had.
        """
        # Random bytes: zeros would take no room on a file system that compresses.
        replace_file(self._reserve, os.urandom(_RESERVE_BYTES), durable=False)

    def save(self, new_status: Status | None = None) -> None:
        """Replace the file now.

        Args:
            new_status: the state, when that is what changed. It may use the reserve. From
                ``handed-over`` on nothing is written until the state changes again.

        Raises:
            RunError: when the file cannot be written; the old one is intact.
        """
        with self._file_lock:
            if self.frozen and new_status is None:
                return
            # Encoded under the lock, written without it: the trainer goes on meanwhile.
            with self._record_lock:
                self.dirty = False
                data = encode_record(self._record)
            try:
                self._replace(data, may_use_reserve=new_status is not None)
            except OSError as error:
                self.dirty = True
                raise unwritable(self._path, error) from error
            if new_status is not None:
                # Set within the file lock: a save of the owner's thread has ended or begins after
                # this. A later one would overwrite the record of the process that takes over.
                self.frozen = new_status == "handed-over"

    def _replace(self, data: bytes, *, may_use_reserve: bool) -> None:
        try:
            replace_file(self._path, data)
        except OSError as error:
            if not may_use_reserve or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._reserve.unlink(missing_ok=True)
            replace_file(self._path, data)

    def close(self) -> None:
        """Save what is left, and give the reserve back to the disk, unless the file is frozen.

        Raises:
            RunError: when the file cannot be written.
        """
        if self.frozen:
            return
        try:
            if self.dirty:
                self.save(self._record.status)  # with a status: the last chance may use the reserve
        finally:
            with contextlib.suppress(OSError):
                self._reserve.unlink(missing_ok=True)
