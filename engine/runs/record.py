"""The record of a run (``run.json``), and its name, tags and note (``user.json``)."""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args

import msgspec
from msgspec import Meta, Struct

from engine.config import metrics
from engine.config.renamed import renamed_tree
from engine.errors import DamagedFileError, RunError
from engine.files import read_plain, reason
from engine.runs.migrations import Migration, upgrade
from engine.runs.note_limits import NAME_LIMIT, NOTE_LIMIT, TAGS_MOST, clean_tags
from engine.runs.provenance import ProvenancePart
from engine.runs.recorded_fields import (
    Count,
    Epochs,
    MisfitError,
    Moment,
    Place,
    Span,
    check_record,
    cleaned,
)
from engine.text import clean_text

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
    done: Count
    total: Count


class Ack(TypedDict):
    """The last request that the trainer acknowledged, at which step and when (unix seconds)."""

    id: str
    request: str
    step: Count
    time: Moment


class Branch(TypedDict):
    """Where a pretraining began that went on from another one's checkpoint.

    ``run`` is the id of that; ``checkpoint`` an epoch, ``best`` or ``last``; ``step`` and ``epoch``
    are those of the checkpoint; ``how`` is ``extend`` or ``fork``; ``sha256`` that of its file, in
    hexadecimal.
    """

    run: str
    checkpoint: str
    step: Count
    epoch: Epochs
    how: str
    sha256: str


class Record(Struct, kw_only=True):
    """Everything known of a run but its curves; written only by the run's owner.

    One that ``decode_record`` gave has clean texts and bounded numbers in all its fields.

    Attributes:
        schema: version of this layout.
        id: name of the run's folder.
        kind: ``pretrain``, ``probe`` or ``study``.
        name: given by whoever started it; ``UserNotes.name`` overrides it. May be empty.
        preset: preset the config was made from, or empty.
        config: the resolved configuration, nested builtin values.
        parent: id of the run whose encoder a probe is about, or empty.
        checkpoint: which of the checkpoints of ``parent``: an epoch as digits, ``best``, or empty
            for the last.
        began_from: of a pretraining that went on from another's checkpoint, else None.
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
        origin: of an encoder that was not trained here, ``imported FILE sha256 DIGEST``; else
            empty.
        study: id of the study that made the run; empty for one that a person made, and for one of
            an earlier version.
        provenance: program, code, packages and machine, see ``engine.runs.provenance``: one part,
            or several where the run went on with something else; empty for a run of an earlier
            version.
    """

    # The order is that of the file, which people read. msgspec copies the empty defaults.
    schema: int = SCHEMA
    id: str
    kind: str
    name: str = ""
    preset: str = ""
    config: dict[str, Any] = {}
    parent: str = ""
    checkpoint: str = ""
    began_from: Branch | None = None
    seed: int = 0
    status: Status = "queued"
    created: Moment
    order: Place | None = None
    started: Moment | None = None
    ended: Moment | None = None
    trained_seconds: Span | None = None
    running_since: Moment | None = None
    host: str = ""
    pid: Count = 0
    boot_id: str = ""
    device: str = ""
    facts: dict[str, Any] = {}
    data: list[dict[str, Any]] = []
    step: Count = 0
    epoch: Epochs = 0.0
    total_steps: Count = 0
    steps_per_epoch: Count = 0
    pairs_per_step: Count = 0
    chance: Annotated[float, Meta(ge=0.0, le=1e12)] = 0.0
    checkpoint_step: Count | None = None
    checkpoint_time: Moment | None = None
    best: dict[str, float] = {}
    last: dict[str, float] = {}
    untrained: dict[str, float] | None = None
    stage: Stage | None = None
    ack: Ack | None = None
    result: dict[str, Any] = {}
    error: str = ""
    origin: str = ""
    study: str = ""
    provenance: list[ProvenancePart] = []


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


def branch_words(branch: Branch | None) -> str:
    """The run and checkpoint that a pretraining went on from, ``k7xw2m@5``; else empty."""
    return "" if branch is None else f"{branch['run']}@{branch['checkpoint']}"


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

    Whatever the file holds, what comes back can be listed, shown and compared: see
    ``engine.runs.recorded_fields`` for what is cleaned and what is refused.

    Raises:
        RunError: one sentence, when the bytes are no record or of a newer schema.
    """
    payload = _payload(data, path, current=SCHEMA, steps=MIGRATIONS)
    for part in SUMMARIES:
        values = payload.get(part)
        if isinstance(values, dict):
            payload[part] = {name: unspell(value) for name, value in values.items()}
    payload["id"] = path.parent.name  # not the recorded one: a copied folder is another run
    try:
        check_record(payload)
        return msgspec.convert(payload, Record)
    except (MisfitError, msgspec.ValidationError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from None


def encode_user(notes: UserNotes) -> bytes:
    """The notes as the bytes of ``user.json``."""
    return msgspec.json.format(msgspec.json.encode(notes), indent=1)


def decode_user(data: bytes, path: Path) -> UserNotes:
    """The notes in the bytes of ``user.json``, as they would be written: cleaned and cut.

    Raises:
        RunError: one sentence, when the bytes are no notes or of a newer schema.
    """
    payload = _payload(data, path, current=USER_SCHEMA, steps=USER_MIGRATIONS)
    try:
        notes = msgspec.convert(payload, UserNotes)
    except msgspec.ValidationError as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from None
    notes.name = clean_text(notes.name, NAME_LIMIT)
    notes.tags = clean_tags(notes.tags[:TAGS_MOST])
    notes.note = clean_text(notes.note, NOTE_LIMIT)
    return notes


def _payload(
    data: bytes, path: Path, *, current: int, steps: Mapping[int, Migration]
) -> dict[str, Any]:
    """The JSON object in a file, cleaned and in the present schema.

    Raises:
        RunError: when it is none, or of a newer schema.
    """
    payload = _parse(data, path)
    version = payload.get("schema") if isinstance(payload, dict) else None
    # Of a newer one nothing is known, so it is not called damaged: ``upgrade`` refuses it.
    if type(version) is not int or version <= current:
        try:
            payload = cleaned(payload)
        except MisfitError as error:
            raise DamagedFileError(f"{path} is damaged: {error}.") from None
    return upgrade(payload, current=current, steps=steps, what=str(path))


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


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a file of a run folder, which may have ``limit`` bytes at most.

    Raises:
        RunError: when it cannot be read, is no plain file or has more bytes than ``limit``;
            ``__cause__`` is the OSError.
    """
    try:
        return read_plain(path, limit)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}.") from error
