"""The run folder: making, finding and reading one."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from msgspec import Struct

from engine.errors import RunError
from engine.files import reason, replace_file, unwritable
from engine.runs.metric_log import MetricLog
from engine.runs.record import (
    ACTIVE,
    Record,
    ShownStatus,
    UserNotes,
    decode_record,
    decode_user,
    encode_record,
    encode_user,
    read_bytes,
)
from engine.runs.requests import (
    ALIVE_SECONDS,
    Asked,
    as_request,
    drop_request,
    host_name,
    lock_is_held,
    read_heartbeat,
    read_requests,
)
from engine.sink import Request
from engine.text import clean_text, visible_line

# No vowels (no words), no l, 1, 0, o (no doubts).
_ALPHABET = "bcdfghjkmnpqrstvwxyz23456789"
_ID_LENGTH = 6
_TAIL_BYTES = 1 << 16
NAME_LIMIT = 200
TAG_LIMIT = 50
NOTE_LIMIT = 1000


class RunFolder:
    """One run on disk, seen by anybody; only its owner (``own``) writes the record.

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
            RunError: one sentence, when it is missing, damaged or of a newer schema.
        """
        return decode_record(read_bytes(self.record_path), self.record_path)

    def user(self) -> UserNotes:
        """Name, tags and note; empty ones when nobody has said anything yet.

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
        """What to call the run: the name people gave it, the record's, or its id."""
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
        # The owner may have finished and left between the two looks.
        record = self.record()
        if record.status not in ACTIVE or self.alive():
            return record.status
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
        """True when another host has given a sign of life in the last 15 s."""
        life, written = read_heartbeat(self.heartbeat_path)
        if life is None or life.host == host_name():
            return False
        return abs(time.time() - written) < ALIVE_SECONDS and self._remote_active(life.host)

    def _remote_active(self, host: str) -> bool:
        try:
            record = self.record()
        except RunError:
            return True
        return record.status in ACTIVE and record.host == host

    def _just_written(self) -> bool:
        try:
            written = self.record_path.stat().st_mtime
        except OSError:
            return False
        return abs(time.time() - written) < ALIVE_SECONDS

    def request(self, kind: Request) -> str:
        """Ask the run's owner for something; returns the id of the request.

        The owner sees it within 0.2 s or a step. When it is no longer among
        ``pending_requests()`` it was answered, and ``record().ack`` says so.

        Raises:
            RunError: when the run is not one that can answer (finished, stopped, failed, lost), or
                the request cannot be written.
        """
        kind = as_request(kind)
        status = self.status()
        if status not in ("queued", "running", "paused", "handed-over"):
            raise RunError(f"The run {self.id} is {status}; there is nobody to {kind} it.")
        return drop_request(self.control_path, kind)

    def pending_requests(self) -> list[Asked]:
        """Requests that nobody has acknowledged yet, oldest first."""
        return read_requests(self.control_path)

    def set_user(
        self,
        name: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> UserNotes:
        """Change what people say of the run; what is None stays.

        Texts are cut to one line without control characters (name: 200 characters, note: 1,000,
        tag: 50, no spaces).

        Raises:
            RunError: when ``user.json`` cannot be written. A damaged one is set aside beside it.
        """
        if not self.path.is_dir():
            raise RunError(f"There is no run folder {self.path}.")
        try:
            with FileLock(self.path / "user.lock", timeout=5):
                try:
                    notes = self.user()
                except RunError as error:
                    if "damaged" not in str(error):
                        raise
                    aside = f"user.json.damaged-{int(time.time())}"
                    self.user_path.rename(self.path / aside)
                    notes = UserNotes()
                if name is not None:
                    notes.name = clean_text(name, NAME_LIMIT)
                if tags is not None:
                    notes.tags = clean_tags(tags)
                if note is not None:
                    notes.note = clean_text(note, NOTE_LIMIT)
                replace_file(self.user_path, encode_user(notes))
        except Timeout:
            raise RunError(f"{self.user_path} is being written by another process.") from None
        except OSError as error:
            raise unwritable(self.user_path, error) from error
        return notes

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
        if size > _TAIL_BYTES:
            data = data.partition(b"\n")[2]
        text = data.decode("utf-8", errors="replace").rstrip("\n")
        found = [visible_line(line) for line in text.split("\n")] if text else []
        return found[-lines:] if lines > 0 else []


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are stored: no spaces, each once, sorted."""
    cleaned = ("-".join(clean_text(tag, 4 * TAG_LIMIT).split())[:TAG_LIMIT] for tag in tags)
    return tuple(sorted({tag for tag in cleaned if tag}))


def runs_root(option: str | None) -> Path:
    """Where the runs are: the option, else ``$MOCO_TUI_RUNS``, else ``./runs``; absolute."""
    text = option or os.environ.get("MOCO_TUI_RUNS") or "runs"
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - keeps symlinks


def create(
    root: Path,
    kind: str,
    config: Struct,
    *,
    name: str = "",
    preset: str = "",
    parent: str = "",
) -> RunFolder:
    """Make the folder of a new run, in state ``queued``.

    Args:
        root: folder of all runs; made when it is missing.
        kind: ``pretrain``, ``probe`` or ``study``.
        config: the resolved configuration.
        name: for people; cut to one line of 200 characters.
        preset: preset that the config was made from.
        parent: id of the run whose encoder is used.

    Raises:
        RunError: when the folder cannot be made.
    """
    tree = msgspec.to_builtins(config)
    runtime = tree.get("runtime")
    seed = runtime.get("seed", 0) if isinstance(runtime, dict) else 0
    record = Record(
        id="",
        kind=kind,
        name=clean_text(name, NAME_LIMIT),
        preset=preset,
        config=tree,
        parent=parent,
        seed=seed,
        created=time.time(),
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            record.id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
            folder = RunFolder(root / record.id)
            if record.id.isdigit() or folder.path.exists():
                continue
            # Filled under another name: nobody ever sees a run folder without its record.
            making = root / f".{record.id}.new"
            making.mkdir()
            replace_file(making / "run.json", encode_record(record))
            making.rename(folder.path)
            return folder
    except OSError as error:
        raise RunError(
            f"The runs folder {root} cannot be written: {reason(error)}; "
            "--runs-dir names another place."
        ) from error


def folders(root: Path) -> list[RunFolder]:
    """Every run folder, by name. Empty when the root does not exist.

    Raises:
        RunError: when the root cannot be read.
    """
    return [RunFolder(root / name) for name in folder_names(root)]


def folder_names(root: Path) -> list[str]:
    """Names of everything in the root that is a run folder (it holds a ``run.json``)."""
    base = str(root)
    return sorted(n for n in candidates(root) if os.path.lexists(f"{base}/{n}/run.json"))


def candidates(root: Path) -> list[str]:
    """Names of the folders in the root that may be run folders, without a look into each.

    Raises:
        RunError: when the root cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return [
                e.name
                for e in entries
                if not e.name.startswith(".") and e.name.isprintable() and e.is_dir()
            ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"The runs folder {root} cannot be read: {reason(error)}.") from error


def find(root: Path, ref: str) -> RunFolder:
    """The run that is meant by an id, a unique prefix of one, a name, or ``latest``.

    Raises:
        RunError: one sentence, when there is none or more than one.
    """
    ref = ref.strip()
    names = folder_names(root)
    if not names:
        raise RunError(f"There are no runs in {root}.")
    if not ref:
        raise RunError("Which run? Give its id, the beginning of it, its name, or latest.")
    if ref.lower() in names:
        return RunFolder(root / ref.lower())
    if ref in names:
        return RunFolder(root / ref)
    if ref == "latest":
        dated = []
        for folder in (RunFolder(root / name) for name in names):
            try:
                dated.append((folder.record().created, folder.id))
            except RunError:
                continue
        if not dated:
            raise RunError(f"No run in {root} has a record that can be read.")
        return RunFolder(root / max(dated)[1])
    begin = [name for name in names if name.startswith(ref.lower())]
    if len(begin) == 1:
        return RunFolder(root / begin[0])
    named = [name for name in names if RunFolder(root / name).title() == ref]
    if len(named) == 1:
        return RunFolder(root / named[0])
    if named or begin:
        several = named or begin
        shown = ", ".join(several[:5]) + (", ..." if len(several) > 5 else "")
        raise RunError(f"{clean_text(ref, 60)} could be any of {shown}; give the whole id.")
    raise RunError(
        f"There is no run {clean_text(ref, 60)} in {root}; moco-tui runs lists those there are."
    )
