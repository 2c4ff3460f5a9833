"""Checkpoints that a pretraining keeps beside its last one: of some epochs, and of the best kNN.

They lie in ``checkpoints`` in the run folder, as ``epoch-5.pt`` and ``best-3.pt``; the names say of
which epoch they are, so a list of them opens none. Each is whole: the training can go on from it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from engine.config.phrases import listed
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.files import opened_folder
from engine.runs.folder import RunFolder
from engine.runs.record import Record

KEPT_FOLDER = "checkpoints"
LAST, BEST = "last", "best"

Reason = Literal["epoch", "best"]
_FILE = re.compile(r"(?P<reason>epoch|best)-(?P<epoch>[1-9][0-9]{0,8})\.pt")


class KeptCheckpoint(NamedTuple):
    """A checkpoint in the folder of kept ones.

    Attributes:
        reason: why it was kept: its ``epoch`` was due, or its kNN was the ``best``.
        epoch: epochs of pretraining behind it; whole.
        path: the file.
        size: in bytes. A file that is also the run's last checkpoint takes them once.
    """

    reason: Reason
    epoch: int
    path: Path
    size: int

    @property
    def name(self) -> str:
        """What stands behind the ``@``: the epoch, or ``best``."""
        return BEST if self.reason == BEST else str(self.epoch)


def kept_checkpoints(run: Path) -> list[KeptCheckpoint]:
    """What a run has kept: the epochs, ascending, then the best. Never raises.

    Args:
        run: the run folder.
    """
    found: list[KeptCheckpoint] = []
    path = run / KEPT_FOLDER
    with contextlib.suppress(OSError), opened_folder(path) as folder, os.scandir(folder) as entries:
        for entry in entries:
            match = _FILE.fullmatch(entry.name)
            if match is None:
                continue
            with contextlib.suppress(OSError):
                info = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(info.st_mode):
                    reason: Reason = "best" if match["reason"] == BEST else "epoch"
                    file = path / entry.name
                    found.append(KeptCheckpoint(reason, int(match["epoch"]), file, info.st_size))
    epochs = sorted(one for one in found if one.reason == "epoch")
    # Two are there where a process was killed before it removed the earlier one: the later is best.
    best = max((one for one in found if one.reason == BEST), default=None)
    return epochs if best is None else [*epochs, best]


def checkpoints_at_end(config: PretrainConfig, epochs: int) -> int:
    """How many checkpoints a pretraining leaves at most: the last, the best, and those of epochs.

    Args:
        config: of the pretraining.
        epochs: that it is trained for.
    """
    log, count = config.log, 1 + bool(config.monitor.knn_every)
    if log.keep_every:
        due = epochs // log.keep_every
        count += min(due, log.keep_last) if log.keep_last else due
    return count


def keep(run: Path, checkpoint: Path, reason: Reason, epoch: int) -> None:
    """Keeps a checkpoint that was just saved, under a second name or, where none can be, as a copy.

    Args:
        run: the run folder.
        checkpoint: the file; it is replaced, never changed, so its bytes stay under another name.
        reason: why; the earlier ``best`` is removed behind the new one.
        epoch: epochs behind it, from 1.

    Raises:
        OSError: when it cannot be kept; what was kept before is as it was.
    """
    folder = run / KEPT_FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    second_name(checkpoint, folder / f"{reason}-{epoch}.pt")
    if reason == BEST:
        for name in _names(folder, "best"):
            if name != f"best-{epoch}.pt":
                _remove(folder, name)


def remove_oldest(run: Path, most: int) -> None:
    """Removes the oldest epochs of more than ``most``; the best stays. Never raises."""
    epochs = [one for one in kept_checkpoints(run) if one.reason == "epoch"]
    for one in epochs[: max(len(epochs) - most, 0)]:
        _remove(run / KEPT_FOLDER, one.path.name)


def _names(folder: Path, reason: str) -> list[str]:
    with opened_folder(folder) as fd, os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.name.startswith(f"{reason}-")]


def _remove(folder: Path, name: str) -> None:
    with contextlib.suppress(OSError), opened_folder(folder) as fd:
        os.unlink(name, dir_fd=fd)


def second_name(source: Path, target: Path) -> None:
    """Gives a file that nobody changes a second name, in place of what has that; else a copy.

    Args:
        source: a plain file; its folder may be a link.
        target: the new name; its folder must exist and be no link.

    Raises:
        OSError: when neither can be made.
    """
    temp = f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    with opened_folder(source.parent, follow=True) as there, opened_folder(target.parent) as here:
        try:
            try:
                os.link(source.name, temp, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
            except OSError:  # no hard links here, or from one disk to another
                _copy(source.name, there, temp, here)
            os.replace(temp, target.name, src_dir_fd=here, dst_dir_fd=here)
        finally:
            # Also after a success: of two names of one file, a rename leaves both (rename(2)).
            with contextlib.suppress(OSError):
                os.unlink(temp, dir_fd=here)
        with contextlib.suppress(OSError):
            os.fsync(here)


def _copy(source: str, there: int, target: str, here: int) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        os.fdopen(os.open(source, flags, dir_fd=there), "rb") as old,
        os.fdopen(os.open(target, new, 0o666, dir_fd=here), "wb") as copy,
    ):
        shutil.copyfileobj(old, copy, 1 << 22)
        copy.flush()
        os.fsync(copy.fileno())


# --------------------------------------------------------------------------------------------
# Which one a person means


def checkpoint_file(folder: RunFolder, which: str = "") -> Path:
    """The file of a checkpoint of a pretraining.

    Args:
        folder: the run.
        which: ``last`` or empty, ``best``, or an epoch as digits.

    Raises:
        RunError: when that was not kept; the sentence says which are.
    """
    if which in ("", LAST):
        return folder.checkpoint_path
    found = kept_checkpoints(folder.path)
    for one in found:
        if which == one.name:
            return one.path
    record = folder.record()
    if which.isdecimal() and record.kind == "pretrain":
        # The best, and the last, are of an epoch too.
        for one in found:
            if one.epoch == int(which):
                return one.path
        if _last_epoch(record) == int(which):
            return folder.checkpoint_path
    what = "checkpoint of the best kNN" if which == BEST else f"checkpoint of epoch {which}"
    raise RunError(f"Run {folder.id} has kept no {what}; {_there(record, found)}.")


def epoch_of(record: Record, which: str, kept: Sequence[KeptCheckpoint]) -> float | None:
    """The epochs behind a checkpoint; None where that is not known.

    Args:
        record: of its run.
        which: see ``checkpoint_file``.
        kept: of the run.
    """
    if which.isdecimal():
        return int(which)
    if which == BEST:
        return next((one.epoch for one in kept if one.reason == BEST), None)
    if record.checkpoint_step is None or not record.steps_per_epoch:
        return None
    return record.checkpoint_step / record.steps_per_epoch


def _last_epoch(record: Record) -> int | None:
    """The epoch at whose end the last checkpoint was written; None where it was within one."""
    if record.checkpoint_step and record.steps_per_epoch:
        epoch, rest = divmod(record.checkpoint_step, record.steps_per_epoch)
        return None if rest else epoch
    return None


def _there(record: Record, found: Sequence[KeptCheckpoint]) -> str:
    """What there is, to stand in a sentence."""
    if record.kind != "pretrain":
        return f"it is a {record.kind}, and only a pretraining has checkpoints of epochs"
    epochs = [str(one.epoch) for one in found if one.reason == "epoch"]
    parts = []
    if epochs:
        noun = "that of epoch" if len(epochs) == 1 else "those of epochs"
        if len(epochs) > 12:
            epochs = [*epochs[:5], "...", *epochs[-5:]]
        parts.append(f"{noun} {listed(epochs)}")
    parts += [f"@best (epoch {one.epoch})" for one in found if one.reason == BEST]
    if record.checkpoint_step is not None:
        parts.append("@last")
    if not parts:
        return "it has none yet"
    hint = "" if epochs else "; log.keep_every keeps those of epochs"
    return f"it has {listed(parts)}{hint}"
