"""The run folder as every process may use it: reading, requests to the owner, notes of people."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from engine.errors import DamagedFileError, RunBusyError, RunError
from engine.files import is_gone, replace_file, unwritable
from engine.runs.file_lock import FileLock
from engine.runs.heartbeat import changes, host_name, is_young, read_heartbeat
from engine.runs.log_summary import correct_old_summary
from engine.runs.metric_log import MetricLog
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
from engine.runs.requests import (
    PendingRequest,
    as_request,
    read_requests,
    set_aside,
    write_request,
)
from engine.runs.run_lock import RunLock, lock_is_held
from engine.sink import Request
from engine.text import clean_text, visible_line

_TAIL_BYTES = 1 << 16  # of log.txt, read from its end: a log may be large, a screen is not
LATEST = "latest"
"""The word by which people mean the newest run; no run may be called so."""
NAME_LIMIT = 200
TAG_LIMIT = 50
NOTE_LIMIT = 1000


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
    def log_path(self) -> Path:
        """``log.txt``."""
        return self.path / "log.txt"

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
        record = decode_record(read_bytes(self.record_path), self.record_path)
        if record.untrained is None:
            correct_old_summary(record, self.metrics_path)
        return record

    def user(self) -> UserNotes:
        """Name, tags and note; empty ones when there is no ``user.json`` yet.

        Raises:
            RunError: one sentence, when ``user.json`` is damaged or of a newer schema.
        """
        try:
            data = read_bytes(self.user_path)
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
        machine to machine, so a heartbeat of another host counts as well while it is young.
        """
        return lock_is_held(self.lock_path) or self.alive_elsewhere()

    def alive_elsewhere(self) -> bool:
        """True when another host has written a heartbeat in the last 15 s, see ``is_young``."""
        heartbeat, written = read_heartbeat(self.heartbeat_path)
        if heartbeat is None or heartbeat.host == host_name():
            return False
        young = is_young(self.heartbeat_path, (heartbeat, written), written)
        return young and self._remote_active(heartbeat.host)

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
                lock.release()
                return None
            if record.status not in ("queued", "handed-over"):
                set_aside(self.control_path)
        except RunError:  # unreadable: who owns the run will say so
            pass
        except BaseException:
            lock.release()
            raise
        return lock

    def _remote_active(self, host: str) -> bool:
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
        if status not in ("queued", "running", "paused", "handed-over"):
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

        Texts are cut to one line without control characters (name: 200 characters, note: 1,000,
        tag: 50, no spaces).

        Raises:
            RunError: when ``user.json`` cannot be written, or the name is the word ``latest``. A
                damaged ``user.json`` is set aside beside the new one.
        """
        if is_gone(self.path):
            raise RunError(f"There is no run folder {self.path}.")
        try:
            # Not the run's lock: notes are written while a trainer holds that.
            with FileLock(self.path / "user.lock").held(timeout=5.0):
                notes = self._notes_to_change()
                if name is not None:
                    notes.name = checked_name(name)
                if tags is not None:
                    notes.tags = clean_tags(tags)
                if note is not None:
                    notes.note = clean_text(note, NOTE_LIMIT)
                replace_file(self.user_path, encode_user(notes))
        except RunBusyError:
            raise RunError(f"{self.user_path} is being written by another process.") from None
        except OSError as error:
            raise unwritable(self.user_path, error) from error
        return notes

    def _notes_to_change(self) -> UserNotes:
        """The notes; a damaged file is renamed, so that new ones can be written and it is kept."""
        try:
            return self.user()
        except DamagedFileError:  # one that is unreadable or of a newer schema is kept as it is
            self.user_path.rename(self.path / f"user.json.damaged-{time.time_ns()}")
            return UserNotes()

    def metrics(self) -> MetricLog:
        """A new reader of the metric log; call its ``poll``."""
        return MetricLog(self.metrics_path)

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of ``log.txt`` without control characters; empty when there is none."""
        try:
            with self.log_path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                data = file.read(_TAIL_BYTES)
        except OSError:
            return []
        if size > _TAIL_BYTES:  # the first line is cut, maybe within a character
            data = data.partition(b"\n")[2]
        text = data.decode("utf-8", errors="replace").rstrip("\n")
        found = [visible_line(line) for line in text.split("\n")] if text else []
        return found[-lines:] if lines > 0 else []


def checked_name(name: str) -> str:
    """A name of a run as it is stored: one line of at most 200 characters.

    Raises:
        RunError: when it is the word ``latest``.
    """
    name = clean_text(name, NAME_LIMIT)
    if name == LATEST:
        raise RunError("latest always means the newest run; choose another name.")
    return name


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are stored: no spaces, each once, sorted."""
    # A hyphen for each space: a space would end the tag in a filter (tag:keep).
    cleaned = ("-".join(clean_text(tag, 4 * TAG_LIMIT).split())[:TAG_LIMIT] for tag in tags)
    return tuple(sorted({tag for tag in cleaned if tag}))
