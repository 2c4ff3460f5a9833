"""The index's entry of a run: everything that a table of runs shows, sorts and filters by."""

from __future__ import annotations

import functools
import math
import os
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.fields import flatten
from engine.config.missing_settings import flat_config, missing_values
from engine.config.presets import presets_of
from engine.config.recorded_values import unusable_setting
from engine.config.schema import KINDS
from engine.errors import DamagedFileError, RunError
from engine.files import reason
from engine.runs.creation_order import place_of
from engine.runs.data_identity import digests_of
from engine.runs.folder import RunFolder
from engine.runs.folder_size import size_of
from engine.runs.record import SUMMARIES, Record, UserNotes, branch_words, spell, unspell
from engine.runs.recorded_fields import Count, Epochs, MisfitError, Moment, Place, Span, cleaned
from engine.text import is_plain, plain_text

DAMAGED = "damaged"
"""State shown for a run whose record holds something else; ``Entry.error`` says what."""
UNREADABLE = "unreadable"
"""State shown for a run whose record cannot be read, or is of a newer version; ``Entry.error`` says
why."""

UNSURE = 0
"""Stamp of an entry that a failed read made: it must not be kept, since the failure may pass
without a change of the files (another user, another mount, a network that is back)."""

_LAYOUT = 2  # of what the index keeps beside the entries; in base_mark, as it makes old ones stale
_SENTENCE = 2000  # characters of why a run cannot be read
_RESULT_VALUES = 16  # bounds an entry, whatever a result holds


# gc=False: it holds no other entry, and of a hundred thousand the collector would look at each, and
# at the tables in it, again and again while they are made: half of the time of a list.
class Entry(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One run in a list. About 400 bytes: of the config only what differs from its preset.

    Small, since the index is one file that is read and written whole, with ten thousand of these.

    Attributes:
        id, kind, preset, parent, checkpoint, seed, created, order, started, ended, trained_seconds,
        running_since, host, device, step, epoch, total_steps, checkpoint_step, best, last,
        untrained, error, study: as in ``Record``.
        name: what people called it, else the record's name; may be empty.
        status: as ``RunFolder.status`` shows it, ``damaged`` or ``unreadable``.
        config: dotted keys whose values differ from ``config_base(kind, preset)``.
        result: the finite numbers at the top level of the record's result, the first 16.
        train_digest, data_digest: of the training images and of all data, see
            ``data_identity.digests_of``; empty for a run of an earlier version.
        imported: whether its encoder was trained elsewhere, see ``Record.origin``.
        began_from: the run and checkpoint that it went on from, ``k7xw2m@5``; empty for a run that
            began anew.
        tags, note: as in ``UserNotes``.
        warning: why ``user.json`` could not be read; empty otherwise.
        size: bytes of the files in its folder when they were last counted, see
            ``folder_size.size_of``; None before that.
        size_stamp: ``stamp`` of the run as it was then.
        stamp: of the folder's files when they were read, see ``stamp_of``; ``UNSURE`` when one of
            them could not be read, so that the next list tries again.
    """

    id: str
    kind: str = ""
    name: str = ""
    preset: str = ""
    parent: str = ""
    checkpoint: str = ""
    seed: int = 0
    status: str = ""
    created: Moment = 0.0
    order: Place | None = None
    started: Moment | None = None
    ended: Moment | None = None
    trained_seconds: Span | None = None
    running_since: Moment | None = None
    host: str = ""
    device: str = ""
    step: Count = 0
    epoch: Epochs = 0.0
    total_steps: Count = 0
    checkpoint_step: Count | None = None
    config: dict[str, Any] = {}
    best: dict[str, float] = {}
    last: dict[str, float] = {}
    untrained: dict[str, float] = {}
    result: dict[str, float] = {}
    train_digest: str = ""
    data_digest: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    error: str = ""
    imported: bool = False
    study: str = ""
    began_from: str = ""
    warning: str = ""
    size: Count | None = None
    size_stamp: int = 0
    stamp: int = 0

    @property
    def title(self) -> str:
        """What to call the run: its name, or its id."""
        return self.name or self.id

    @property
    def place(self) -> float:
        """What runs are sorted by from the oldest to the newest, see ``runs.creation_order``."""
        return place_of(self)

    @property
    def updated(self) -> float:
        """Unix seconds of the latest of its end, start and creation that is known."""
        return self.ended or self.started or self.created

    def setting(self, key: str) -> Any:
        """Value of a dotted key of the configuration, None when the kind has no such key."""
        if key in self.config:
            return self.config[key]
        return config_base(self.kind, self.preset).get(key)


@functools.cache
def config_base(kind: str, preset: str) -> Mapping[str, Any]:
    """The flat configuration that a preset stands for; empty for a kind that is not known."""
    type_ = KINDS.get(kind)
    if type_ is None:
        return {}
    base = flatten(type_())
    presets = presets_of(type_)
    if preset in presets:
        base |= {key: value for key, value in presets[preset].values.items() if key in base}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(base))  # lists, as in run.json
    return plain


@functools.cache
def base_mark() -> str:
    """A hash of all defaults and presets, and of what an entry has.

    Entries hold what differs from these, so entries made with others are out of date; so are those
    of a version whose entries lacked a field. The index keeps this text to notice it.
    """
    bases = [flatten(type_()) for type_ in KINDS.values()]
    presets = [
        {name: preset.values for name, preset in presets_of(type_).items()}
        for type_ in KINDS.values()
    ]
    facts = [bases, presets, Entry.__struct_fields__, _LAYOUT]
    return f"{zlib.crc32(msgspec.json.encode(facts, order='deterministic')):08x}"


def stamp_of(path: str) -> int | None:
    """A number that changes when ``run.json`` or ``user.json`` does; None when there is no record.

    Both files are replaced whole, so the inode differs even where two writes fall into one tick of
    the file system's clock. The time of the inode's change covers what ``chmod`` and ``chown`` do,
    after which a file may be readable that was not (inode(7)). Hashes of tuples of whole numbers
    are the same in every process (those of texts are not), so the index can hold them.

    Args:
        path: of the run folder; a text, since ten thousand Paths take longer than their stats.

    Raises:
        OSError: when it cannot be found out whether there is one (no permission, a damaged disk).
    """
    try:
        a = os.lstat(f"{path}/run.json")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        b = os.lstat(f"{path}/user.json")
    except OSError:
        return hash(_facts(a))
    return hash(_facts(a) + _facts(b))


def _facts(of: os.stat_result) -> tuple[int, ...]:
    return of.st_mtime_ns, of.st_ctime_ns, of.st_size, of.st_ino, of.st_mode


def counted(entry: Entry, size: int) -> Entry:
    """The entry with the size of its folder, as it was counted now."""
    return msgspec.structs.replace(entry, size=size, size_stamp=entry.stamp)


def read_counted(folder: RunFolder) -> Entry | None:
    """``read_entry`` with the size of the folder: for one run, since each file is looked at."""
    entry = read_entry(folder)
    return None if entry is None else counted(entry, size_of(folder.path))


def read_entry(folder: RunFolder) -> Entry | None:
    """The entry of a run as recorded (``lost`` is not derived); None when the folder is gone.

    A run that cannot be read has an entry of its state and its error alone. Its stamp is ``UNSURE``
    unless the record was read and found damaged.
    """
    # Before reading: a change in between then makes the entry look out of date, never up to date.
    try:
        stamp = stamp_of(str(folder.path))
    except OSError as error:
        sentence = plain_text(f"{folder.record_path} cannot be read: {reason(error)}.", _SENTENCE)
        return Entry(id=folder.id, status=UNREADABLE, error=sentence)
    if stamp is None:
        return None
    try:
        record = folder.record()
    except RunError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        # A folder of that name is damage too: nobody may be refused the right to read it.
        damaged = isinstance(error, DamagedFileError)
        damaged = damaged or isinstance(error.__cause__, IsADirectoryError)
        status = DAMAGED if damaged else UNREADABLE
        # What a newer version wrote is unsure as well: after an update this one can read it.
        stamp = stamp if damaged else UNSURE
        return Entry(id=folder.id, status=status, error=_sentence(error), stamp=stamp)
    warning = ""
    try:
        notes = folder.user()
    except RunError as error:
        notes, warning = UserNotes(), _sentence(error)
        if not isinstance(error, DamagedFileError):
            stamp = UNSURE
    return make_entry(record, notes, warning=warning, stamp=stamp)


def _sentence(error: RunError) -> str:
    return plain_text(str(error), _SENTENCE)  # it names the folder, which may be called anything


def make_entry(record: Record, notes: UserNotes, *, warning: str = "", stamp: int = 0) -> Entry:
    """The entry that a record and its notes make."""
    base = config_base(record.kind, record.preset)
    flat = flat_config(record.kind, record.config)
    # Else a setting that is missing would read as that of today's preset.
    flat |= missing_values(record.kind, flat)
    train_digest, data_digest = digests_of(record.data)
    return Entry(
        id=record.id,
        kind=record.kind,
        name=notes.name or record.name,
        preset=record.preset,
        parent=record.parent,
        checkpoint=record.checkpoint,
        seed=record.seed,
        status=record.status,
        created=record.created,
        order=record.order,
        started=record.started,
        ended=record.ended,
        trained_seconds=record.trained_seconds,
        running_since=record.running_since,
        host=record.host,
        device=record.device,
        step=record.step,
        epoch=record.epoch,
        total_steps=record.total_steps,
        checkpoint_step=record.checkpoint_step,
        config={k: v for k, v in flat.items() if k not in base or base[k] != v},
        best=record.best,
        last=record.last,
        untrained=record.untrained or {},
        result=_numbers(record.result),
        train_digest=train_digest,
        data_digest=data_digest,
        tags=notes.tags,
        note=notes.note,
        error=record.error,
        imported=bool(record.origin),
        study=record.study,
        began_from=branch_words(record.began_from),
        warning=warning,
        stamp=stamp,
    )


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in result.items():
        if type(value) in (int, float) and math.isfinite(value):  # type: a bool is an int
            found[name] = float(value)
    return dict(list(found.items())[:_RESULT_VALUES])


def to_document(entry: Entry) -> dict[str, Any]:
    """The entry as a document of the index."""
    document: dict[str, Any] = msgspec.to_builtins(entry)
    for part in SUMMARIES:
        if part in document:
            document[part] = {name: spell(value) for name, value in document[part].items()}
    return document


def from_document(document: Mapping[str, Any]) -> Entry:
    """The opposite of ``to_document``.

    Raises:
        msgspec.ValidationError: when it is no entry that a record could have made.
    """
    try:
        entry = msgspec.convert(document, Entry)
    except msgspec.ValidationError:
        # Most likely a NaN or an infinity, which are texts in a document: rare, so second.
        fixed = dict(document)
        for part in SUMMARIES:
            values = fixed.get(part)
            if isinstance(values, dict):
                fixed[part] = {name: unspell(value) for name, value in values.items()}
        entry = msgspec.convert(fixed, Entry)
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """Refuse what no record could have made: the index lies in a folder that others write to.

    Raises:
        msgspec.ValidationError: when a text is not clean, or a setting of another type.
    """
    texts = (
        *(entry.id, entry.kind, entry.name, entry.preset, entry.parent, entry.status, entry.host),
        *(entry.device, entry.train_digest, entry.data_digest, entry.note, entry.error),
        *(entry.checkpoint, entry.began_from),
        *(entry.warning, *entry.tags, *entry.best, *entry.last, *entry.untrained, *entry.result),
        *entry.config,
    )
    if not is_plain("".join(texts)):
        raise msgspec.ValidationError("a text holds control characters")
    if entry.config:
        try:
            wrong = unusable_setting(entry.kind, entry.config)
            values = list(entry.config.values())
            changed = cleaned(values) != values
        except MisfitError as error:
            raise msgspec.ValidationError(str(error)) from None
        if wrong or changed:
            raise msgspec.ValidationError(wrong or "a setting holds control characters")
