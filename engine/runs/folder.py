"""The run folder as every process may use it: reading, requests to the owner, notes of people."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from engine.errors import DamagedFileError, RunBusyError, RunError
from engine.files import is_gone, opened_folder, replace_file, unwritable
from engine.runs.file_lock import FileLock
from engine.runs.heartbeat import changes, host_name, is_process, is_young, read_heartbeat
from engine.runs.log_lines import last_lines
from engine.runs.log_summary import correct_old_summary
from engine.runs.metric_log import MetricLog
from engine.runs.note_limits import NOTE_LIMIT, check_tags, checked_name, clean_tags
from engine.runs.record import (
    ACTIVE,
    Record,
    ShownStatus,
    UserNotes,
    decode_record,
    decode_user,
    encode_user,
    read_bytes,
)
from engine.runs.recorded_fields import NOTES_BYTES, RECORD_BYTES
from engine.runs.requests import (
    PendingRequest,
    as_request,
    read_requests,
    set_aside,
    write_request,
)
from engine.runs.run_lock import RunLock, lock_is_held
from engine.sink import Request
from engine.text import clean_text

START_NAME = "start.pt"
NOTES_SECONDS = 5.0
"""How long a change of the notes waits for others who change them; an app must not stand still."""


class RunFolder:
    """One run on disk, for any process; only its owner (``own``) writes the record.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def record_path(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    @property
    def user_path(self) -> Path:
        """``user.json``."""
        return self.path / "user.json"

    @property
    def metrics_path(self) -> Path:
        """``metrics.jsonl``."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        """``checkpoint.pt``."""
        return self.path / "checkpoint.pt"

    @property
    def start_path(self) -> Path:
        """``start.pt``: of a pretraining that goes on from another one's checkpoint, that one."""
        return self.path / START_NAME

    @property
    def log_path(self) -> Path:
        """``log.txt``."""
        return self.path / "log.txt"

    @property
    def devices_path(self) -> Path:
        """``devices.jsonl``: what the machine was doing while the run was trained."""
        return self.path / "devices.jsonl"

    @property
    def control_path(self) -> Path:
        """Folder of the requests that wait."""
        return self.path / "control"

    @property
    def heartbeat_path(self) -> Path:
        """``heartbeat``."""
        return self.path / "heartbeat"

    @property
    def lock_path(self) -> Path:
        """``lock``."""
        return self.path / "lock"

    def record(self) -> Record:
        """The record as last written.

        Raises:
            RunError: one sentence, when it is missing, damaged or of a newer schema, or when the
                log that a record of version 0.1 needs cannot be read.
        """
        record = decode_record(read_bytes(self.record_path, RECORD_BYTES), self.record_path)
        if record.untrained is None:
            correct_old_summary(record, self.metrics_path)
        return record

    def user(self) -> UserNotes:
        """Name, tags and note; empty ones when there is no ``user.json`` yet.

        Raises:
            RunError: one sentence, when ``user.json`` is damaged or of a newer schema.
        """
        try:
            data = read_bytes(self.user_path, NOTES_BYTES)
        except RunError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return UserNotes()
            raise
        return decode_user(data, self.user_path)

    def title(self) -> str:
        """The name to show: of the notes, else of the record, else the id. Never raises."""
        for read in (self.user, self.record):
            try:
                name = read().name
            except RunError:
                continue
            if name:
                return name
        return self.id

    def status(self, record: Record | None = None) -> ShownStatus:
        """The state to show: as recorded, or ``lost`` when its owner is gone.

        Args:
            record: a record read a moment ago, to save reading it again.

        Raises:
            RunError: when the record cannot be read.
        """
        record = record or self.record()
        if record.status not in ACTIVE or self.alive():
            return record.status
        # The owner may have finished and released its lock after the record was read; without a
        # second look a run that has just ended would be shown as lost.
        record = self.record()
        if record.status not in ACTIVE or self.alive():
            return record.status
        # A hand-over has the grace of a heartbeat: its process may still be starting.
        if record.status == "handed-over" and self._just_written():
            return record.status
        return "lost"

    def alive(self) -> bool:
        """True when a process works on the run.

        On this machine: some process holds the run's lock. A file system may not carry locks from
        machine to machine, so a heartbeat of another host counts as well while it is young; and so
        does one of this host for a user who may look at the run and not write its lock.
        """
        held = lock_is_held(self.lock_path)
        if held is None:
            held = self._beats_here()
        return held or self.alive_elsewhere()

    def _beats_here(self) -> bool:
        """True when a process of this host that still lives wrote a heartbeat lately."""
        heartbeat, written = read_heartbeat(self.heartbeat_path)
        if heartbeat is None or heartbeat.host != host_name() or not is_process(heartbeat):
            return False
        young = is_young(self.heartbeat_path, (heartbeat, written), written)
        return young and self._is_active(heartbeat.host)

    def alive_elsewhere(self) -> bool:
        """True when another host has written a heartbeat in the last 15 s, see ``is_young``."""
        heartbeat, written = read_heartbeat(self.heartbeat_path)
        if heartbeat is None or heartbeat.host == host_name():
            return False
        young = is_young(self.heartbeat_path, (heartbeat, written), written)
        return young and self._is_active(heartbeat.host)

    def works_elsewhere(self, record: Record) -> bool:
        """True when another host works on the run, on a file system that carries no locks.

        For whoever is about to change the run. May take 7.5 s: a heartbeat that looks old is
        watched for so long, since clocks of hosts may differ by any amount.

        Args:
            record: of the run, read a moment ago.
        """
        if record.status not in ACTIVE:
            return False
        heartbeat, _ = read_heartbeat(self.heartbeat_path)
        if heartbeat is None or heartbeat.host == host_name():
            return False
        return self.alive_elsewhere() or changes(self.heartbeat_path)

    def take_lock(self) -> RunLock | None:
        """Take the lock of the run, to start or to resume it; None when a process works on it.

        Requests that wait now were meant for an earlier owner (a ``stop`` that came too late would
        end a resumed run at once): they are set aside, unless the run is queued or handed over.
        What is asked from now on is for whoever has the lock, also by way of a hand-over.

        Raises:
            RunError: when the folder cannot be written.
        """
        lock = RunLock(self.lock_path)
        if not lock.acquire():
            return None
        try:
            # Once locked: an owner may have written it before it released the lock.
            record = self.record()
            if self.works_elsewhere(record):
                lock.unlock()
                return None
            if record.status not in ("queued", "handed-over"):
                set_aside(self.control_path)
        except RunError:  # unreadable: who owns the run will say so
            pass
        except BaseException:
            lock.unlock()
            raise
        return lock

    def _is_active(self, host: str) -> bool:
        """True unless the record says that the run has ended or is owned by another host."""
        try:
            record = self.record()
        except RunError:  # unreadable: then the heartbeat alone counts
            return True
        return record.status in ACTIVE and record.host == host

    def _just_written(self) -> bool:
        """True while the process that a run was handed over to may still be starting."""
        try:
            info = self.record_path.stat()
        except OSError:
            return False
        # Its inode: the record is replaced whole.
        return is_young(self.record_path, info.st_ino, info.st_mtime)

    def request(self, kind: Request) -> str:
        """Ask the run's owner for something; returns the id of the request.

        The owner sees it within 0.2 s or a step, whichever is longer. Once it is no longer among
        ``pending_requests()`` it was acknowledged, and ``record().ack`` holds the answer.

        Raises:
            RunError: when the run is not one that can answer (finished, stopped, failed, lost), or
                the request cannot be written.
        """
        kind = as_request(kind)
        status = self.status()
        # A run of another host looks lost where clocks differ, to a process that looks once.
        lost = status == "lost" and not self.works_elsewhere(self.record())
        if lost or status not in ("queued", "running", "paused", "handed-over", "lost"):
            raise RunError(f"The run {self.id} is {status}; there is nobody to {kind} it.")

        def last_answered() -> str:
            ack = self.record().ack
            return "" if ack is None else ack["id"]

        return write_request(self.control_path, kind, last_answered)

    def pending_requests(self) -> list[PendingRequest]:
        """Requests that nobody has acknowledged yet, oldest first."""
        return read_requests(self.control_path)

    def set_user(
        self,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> UserNotes:
        """Change name, tags or note; what is None stays.

        Returns:
            The notes as they are now.

        Raises:
            RunError: see ``change_user``.
        """
        given = None if tags is None else tuple(tags)

        def update(notes: UserNotes) -> None:
            notes.name = notes.name if name is None else name
            notes.tags = notes.tags if given is None else given
            notes.note = notes.note if note is None else note

        return self.change_user(update)

    def change_user(
        self, update: Callable[[UserNotes], None], *, timeout: float = NOTES_SECONDS
    ) -> UserNotes:
        """Change the notes by a function, which no other change of them comes between.

        Texts are cut to one line without control characters (name: 200 characters, note: 1,000,
        tag: 50, no spaces).

        Args:
            update: is given the notes as they are and changes them in place; what it raises leaves
                the file as it was.
            timeout: seconds to wait for others who change them, or move the run.

        Returns:
            The notes as they are now.

        Raises:
            RunBusyError: when others do so for longer; nothing is written then.
            RunError: when there is no such run, ``user.json`` cannot be read or written, the name
                is the word ``latest``, or the tags are more than ``TAGS_MOST``. A damaged
                ``user.json`` is set aside beside the new one.
        """
        if is_gone(self.path):
            raise RunError(f"There is no run folder {self.path}.")
        try:
            with self.notes_lock(timeout):
                if is_gone(self.path):  # moved to the trash while this waited
                    raise RunError(f"There is no run folder {self.path} (any more).")
                notes = self._notes_to_change()
                update(notes)
                notes.name = checked_name(notes.name)
                notes.tags = check_tags(clean_tags(notes.tags))
                notes.note = clean_text(notes.note, NOTE_LIMIT)
                replace_file(self.user_path, encode_user(notes))
        except OSError as error:
            raise unwritable(self.user_path, error) from error
        return notes

    @contextlib.contextmanager
    def notes_lock(self, timeout: float = NOTES_SECONDS) -> Iterator[None]:
        """Keep others from changing the notes, and from moving the folder or removing it.

        Not the run's own lock, which a trainer holds. The lock lies in the folder and moves with
        it; who gets it must look whether the folder is still where it was.

        Args:
            timeout: seconds to wait for others.

        Raises:
            RunBusyError: when others have it for longer.
            RunError: when it cannot be had at all.
        """
        # No context around the yield: errors of the caller's would be taken for those of the lock.
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(FileLock(self.path / "user.lock").held(timeout))
            except RunBusyError:
                raise RunBusyError(
                    f"{self.user_path} is being written by another process; nothing was changed."
                ) from None
            yield

    def _notes_to_change(self) -> UserNotes:
        """The notes; a damaged file is renamed, so that new ones can be written and it is kept."""
        try:
            return self.user()
        except DamagedFileError:  # one that is unreadable or of a newer schema is kept as it is
            kept = f"{self.user_path.name}.damaged-{time.time_ns()}"
            with opened_folder(self.path) as folder:
                os.rename(self.user_path.name, kept, src_dir_fd=folder, dst_dir_fd=folder)
            return UserNotes()

    def metrics(self) -> MetricLog:
        """A new reader of the metric log; call its ``poll``."""
        return MetricLog(self.metrics_path)

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of ``log.txt`` without control characters; empty when there is none."""
        return last_lines(self.log_path, lines)
