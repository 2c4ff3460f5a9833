"""The record of a run (``run.json``), and its name, tags and note (``user.json``)."""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

import msgspec
from msgspec import Struct

from engine.config import metrics
from engine.config.renamed import renamed_tree
from engine.errors import DamagedFileError, RunError
from engine.files import reason
from engine.runs.migrations import Migration, upgrade

Status = Literal["queued", "running", "paused", "finished", "stopped", "failed", "handed-over"]
ShownStatus = Literal[
    "queued", "running", "paused", "finished", "stopped", "failed", "handed-over", "lost"
]
STATUSES: tuple[Status, ...] = get_args(Status)


def _renamed_settings(payload: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 is that of version 0.1: some settings had other names."""
    config = payload.get("config")
    return payload | {"config": renamed_tree(config)} if isinstance(config, dict) else payload


SCHEMA = 2
MIGRATIONS: Mapping[int, Migration] = {1: _renamed_settings}
"""For every older schema of the record the step to the next."""

USER_SCHEMA = 1
USER_MIGRATIONS: Mapping[int, Migration] = {}

ACTIVE: frozenset[str] = frozenset({"running", "paused", "handed-over"})
"""States that need a living owner; without one the run is shown as lost."""

SUMMARIES = ("best", "last", "untrained")
"""Fields with a value for each metric, in which NaN and infinities are spelled out on disk."""

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Stage(TypedDict):
    """Side work in progress: its name, units done and units in all."""

    name: str
    done: int
    total: int


class Ack(TypedDict):
    """The last request that the trainer acknowledged, at which step and when (unix seconds)."""

    id: str
    request: str
    step: int
    time: float


class Record(Struct, kw_only=True):
    """Everything known of a run but its curves; written only by the run's owner.

    Attributes:
        schema: version of this layout.
        id: name of the run's folder.
        kind: ``pretrain``, ``probe`` or ``study``.
        name: given by whoever started it; ``UserNotes.name`` overrides it. May be empty.
        preset: preset the config was made from, or empty.
        config: the resolved configuration, nested builtin values.
        parent: id of the run whose encoder a probe is about, or empty.
        seed: ``runtime.seed``.
        status: as last written by the owner; ``RunFolder.status`` derives ``lost`` from it.
        created, started, ended: unix seconds; ``started`` is the first start.
        order: place among the runs of its folder, see ``engine.runs.creation_order``; None for a
            run of an earlier version.
        trained_seconds: time in the state ``running`` up to ``running_since``; None before the
            first start, and in a record of version 0.1.
        running_since: unix seconds; None in every other state.
        host, pid, boot_id: the owner's machine, process and boot of the machine.
        device, facts, total_steps, steps_per_epoch, pairs_per_step, chance: see ``sink.Plan``.
        data: which images and labels the steps from ``step`` on have seen, see
            ``engine.runs.data_identity``: one entry, or several where the run went on with others;
            empty for a run of version 0.1.
        step, epoch: progress; ``epoch`` is fractional, from 0.
        checkpoint_step, checkpoint_time: what the resume point holds and when it was written.
        best: best value a metric has had, of those that ``Metric.best`` counts.
        last: newest value of every metric.
        untrained: values of step 0; None in a record that was written before these were kept apart,
            whose ``best`` may be among them.
        stage: side work now, or None.
        ack: last acknowledged request, or None.
        result: outcome (builtin values; a NaN or infinity in it becomes None on disk).
        error: why it failed, in one sentence; empty otherwise.
    """

    # The order is that of the file, which people read. msgspec copies the empty defaults.
    schema: int = SCHEMA
    id: str
    kind: str
    name: str = ""
    preset: str = ""
    config: dict[str, Any] = {}
    parent: str = ""
    seed: int = 0
    status: Status = "queued"
    created: float
    order: float | None = None
    started: float | None = None
    ended: float | None = None
    trained_seconds: float | None = None
    running_since: float | None = None
    host: str = ""
    pid: int = 0
    boot_id: str = ""
    device: str = ""
    facts: dict[str, Any] = {}
    data: list[dict[str, Any]] = []
    step: int = 0
    epoch: float = 0.0
    total_steps: int = 0
    steps_per_epoch: int = 0
    pairs_per_step: int = 0
    chance: float = 0.0
    checkpoint_step: int | None = None
    checkpoint_time: float | None = None
    best: dict[str, float] = {}
    last: dict[str, float] = {}
    untrained: dict[str, float] | None = None
    stage: Stage | None = None
    ack: Ack | None = None
    result: dict[str, Any] = {}
    error: str = ""


class UserNotes(Struct, kw_only=True):
    """Name, tags and note that people give a run. Never written by the trainer.

    A file apart, since the record belongs to the owner, who may be writing it at any time.

    Attributes:
        schema: version of this layout.
        name: overrides the record's name when not empty.
        tags: short words, sorted.
        note: a text of one line.
    """

    schema: int = USER_SCHEMA
    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""


def direction(metric: str) -> int:
    """1 when larger is better, -1 when smaller is, 0 when neither can be said."""
    return metrics.metric(metric).direction


def spell(value: float) -> float | str:
    """A number as JSON can hold it: NaN and infinities as ``NaN``, ``Infinity``, ``-Infinity``.

    As texts, since JSON has no such numbers (RFC 8259, section 6) and msgspec writes null for all.
    """
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def unspell(value: Any) -> Any:
    """The opposite of ``spell``; anything else comes back as it is."""
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def encode_record(record: Record) -> bytes:
    """The record as the bytes of ``run.json``."""
    payload = msgspec.structs.asdict(record)  # a copy, but a shallow one: dicts are replaced below
    for part in SUMMARIES:
        if payload[part] is not None:
            payload[part] = {name: spell(value) for name, value in payload[part].items()}
    # Indented: people open this file.
    return msgspec.json.format(msgspec.json.encode(payload), indent=1)


def decode_record(data: bytes, path: Path) -> Record:
    """The record in the bytes of ``run.json``; its id is the name of the folder it lies in.

    Raises:
        RunError: one sentence, when the bytes are no record or of a newer schema.
    """
    payload = upgrade(_parse(data, path), current=SCHEMA, steps=MIGRATIONS, what=str(path))
    for part in SUMMARIES:
        values = payload.get(part)
        if isinstance(values, dict):
            payload[part] = {name: unspell(value) for name, value in values.items()}
    payload["id"] = path.parent.name  # not the recorded one: a copied folder is another run
    try:
        return msgspec.convert(payload, Record)
    except msgspec.ValidationError as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from None


def encode_user(notes: UserNotes) -> bytes:
    """The notes as the bytes of ``user.json``."""
    return msgspec.json.format(msgspec.json.encode(notes), indent=1)


def decode_user(data: bytes, path: Path) -> UserNotes:
    """The notes in the bytes of ``user.json``.

    Raises:
        RunError: one sentence, when the bytes are no notes or of a newer schema.
    """
    payload = upgrade(
        _parse(data, path), current=USER_SCHEMA, steps=USER_MIGRATIONS, what=str(path)
    )
    try:
        return msgspec.convert(payload, UserNotes)
    except msgspec.ValidationError as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from None


def _parse(data: bytes, path: Path) -> Any:
    """The JSON in a file that anything may have happened to.

    Raises:
        RunError: when it is none.
    """
    try:
        # People open these files: an editor may have put a byte order mark before them.
        return msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Empty is what a crash of another program, or a full disk, usually leaves.
        state = "empty" if not data.strip() else "no JSON"
        raise DamagedFileError(f"{path} is damaged: it is {state}.") from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a file of a run folder.

    Raises:
        RunError: when it cannot be read; ``__cause__`` is the OSError.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}.") from error


def checked_status(text: Any) -> Status:
    """The text as a status.

    Raises:
        ValueError: when it is none.
    """
    if text not in STATUSES:
        raise ValueError(f"{text} is no status of a run")
    status: Status = text
    return status
