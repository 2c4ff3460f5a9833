"""Finding the run that a person means by an id, a name, the beginning of either, or ``latest``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from engine.errors import RunError
from engine.files import is_gone, read_plain, reason
from engine.runs.creation_order import place_of
from engine.runs.folder import RunFolder
from engine.runs.note_limits import LATEST, NAME_LIMIT
from engine.runs.record import Record
from engine.runs.recorded_fields import NOTES_BYTES, RECORD_BYTES
from engine.runs.root import folder_names
from engine.text import clean_text, plain_text, shorten

LatestOf = Literal["", "pretrain", "study"]
"""What ``latest`` means to a command: the newest run of any kind, the newest pretraining that has a
checkpoint (what can be probed), or the newest study."""


class AmbiguousRunError(RunError):
    """What a person typed could be any of several runs."""


_SHOWN = 5  # runs that a message about several names


def find(
    root: Path, ref: str, *, latest_of: LatestOf = "", listed_by: str = "moco-tui runs"
) -> RunFolder:
    """The run that a person means.

    An id (in any case of letters) wins over a name, a whole name over the beginning of an id, and
    that over the beginning of a name. Of two that match at one level neither is taken.

    Args:
        root: folder of the run folders.
        ref: an id, a name, the beginning of either, or ``latest``.
        latest_of: see ``LatestOf``.
        listed_by: the command that lists what there is, for the message.

    Raises:
        AmbiguousRunError: when it could be more than one.
        RunError: one sentence, when there is none.
    """
    ref = ref.strip()
    ids = folder_names(root)
    if not ids:
        raise RunError(f"There are no runs in {root}.")
    if not ref:
        raise RunError("Which run? Give its id, its name, the beginning of either, or latest.")
    if ref == LATEST:  # no run can be called so
        return _latest(root, ids, latest_of)
    for id_ in (ref, ref.lower()):
        if id_ in ids:
            return RunFolder(root / id_)
    names = {id_: name_of(RunFolder(root / id_)) for id_ in ids}
    levels = (
        [id_ for id_ in ids if names[id_] == ref],
        [id_ for id_ in ids if id_.startswith(ref.lower())],
        [id_ for id_ in ids if names[id_].startswith(ref)],
    )
    for level, meant in enumerate(levels):
        if len(meant) == 1:
            return RunFolder(root / meant[0])
        if meant:
            how = "whole id" if level == 0 else "whole id or name"
            raise AmbiguousRunError(
                f"{shorten(ref)} could be any of {_several(meant, names)}; give the {how}."
            )
    _check_readable(root, ref)
    raise RunError(
        f"There is no run {clean_text(ref, 60)} in {root}; {listed_by} lists those there are."
    )


def by_id(root: Path, id_: str) -> RunFolder:
    """The run of an id that a program has written down, such as the parent of a probe.

    Never another one whose name or beginning is the same: the run may have been deleted since.

    Raises:
        RunError: when there is none.
    """
    # It may come from somebody else's record: it must not lead out of the root, nor into the trash.
    usable = id_ and not id_.startswith(".") and "/" not in id_ and "\0" not in id_
    if usable and not is_gone(root / id_ / "run.json"):
        return RunFolder(root / id_)
    raise RunError(f"There is no run {clean_text(id_, 60)} in {root} (any more).")


class _Named(Struct):
    """The only field of a record or of notes that is needed to find a run by its name."""

    name: str = ""


def name_of(folder: RunFolder) -> str:
    """The name that people gave a run; empty without one, or where it cannot be read."""
    # Not the whole record: ten thousand of those take seconds to decode.
    for path, limit in ((folder.user_path, NOTES_BYTES), (folder.record_path, RECORD_BYTES)):
        try:
            name = msgspec.json.decode(read_plain(path, limit), type=_Named).name
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if name:
            return plain_text(name, NAME_LIMIT)
    return ""


def described(folder: RunFolder) -> str:
    """Id and name of a run, for messages: ``k7m2qx (my run)``; the id alone without a name."""
    return _id_and_name(folder.id, name_of(folder))


def _id_and_name(id_: str, name: str) -> str:
    return f"{id_} ({shorten(name)})" if name else id_


def _several(ids: Sequence[str], names: dict[str, str]) -> str:
    shown = ", ".join(_id_and_name(id_, names[id_]) for id_ in ids[:_SHOWN])
    return shown + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")


def _check_readable(root: Path, ref: str) -> None:
    """Says why a folder of just this name is no run that can be used, if there is one.

    Raises:
        RunError: when it cannot be looked into.
    """
    if "/" in ref or "\0" in ref or ref in (".", ".."):
        return
    try:
        (root / ref / "run.json").stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise RunError(f"{root / clean_text(ref)} cannot be read: {reason(error)}.") from error


def _latest(root: Path, ids: Sequence[str], of: LatestOf) -> RunFolder:
    dated = []
    for folder in (RunFolder(root / id_) for id_ in ids):
        try:
            record = folder.record()
        except RunError:  # a damaged record has no date
            continue
        if not of or (record.kind == of and _usable(folder, record)):
            dated.append((place_of(record), folder.id))
    if dated:
        return RunFolder(root / max(dated)[1])
    raise RunError(
        {
            "": f"No run in {root} has a record that can be read.",
            "pretrain": f"No pretraining in {root} has a checkpoint yet, so none can be probed.",
            "study": f"There is no study in {root}.",
        }[of]
    )


def _usable(folder: RunFolder, record: Record) -> bool:
    """False for a pretraining without a checkpoint: there is no encoder to probe."""
    return record.kind != "pretrain" or not is_gone(folder.checkpoint_path)
