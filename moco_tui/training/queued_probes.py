"""Probes that wait for their pretraining: they begin by themselves only when it has finished.

A pretraining that was stopped or has failed leaves an encoder that nobody asked to probe. The app
asks then what becomes of the probe; a process without a terminal leaves it queued and says how to
start it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container

from engine.errors import RunError
from engine.history.index import note_change
from engine.runs import RunFolder, own
from engine.runs.encoder_step import EncoderStep, at_checkpoint


def pretraining_of(folder: RunFolder) -> RunFolder | None:
    """The run whose encoder a probe is about; None for other kinds, and without a record."""
    with contextlib.suppress(RunError):
        record = folder.record()
        if record.kind == "probe" and record.parent:
            return RunFolder(folder.path.parent / record.parent)
    return None


def is_finished(pretraining: RunFolder) -> bool:
    """Whether a pretraining is over; also where its record is gone, which its probe reports."""
    try:
        return pretraining.record().status == "finished"
    except RunError:
        return True


def reached(pretraining: RunFolder) -> EncoderStep | None:
    """How far the encoder is that a probe would read now; None where there is no checkpoint."""
    with contextlib.suppress(RunError):
        return at_checkpoint(pretraining.record())
    return None


def waits_in_vain(folder: RunFolder, behind: Container[RunFolder]) -> RunFolder | None:
    """The pretraining that a probe waited for and that has ended unfinished; else None.

    Args:
        folder: a run whose turn it is.
        behind: the runs that it was queued with: a probe of any other pretraining was asked for as
            that one stands.
    """
    pretraining = pretraining_of(folder)
    if pretraining is None or pretraining not in behind or is_finished(pretraining):
        return None
    return pretraining


def state_words(pretraining: RunFolder) -> str:
    """Where a pretraining stands: ``stopped, its checkpoint at step 3,900 of 19,500, 20 %``."""
    try:
        record = pretraining.record()
        status = pretraining.status(record)
    except RunError:
        return "gone"
    at = at_checkpoint(record)
    return f"{status}, " + (f"its checkpoint at {at.words()}" if at else "without a checkpoint")


def stays_queued(probe: RunFolder, pretraining: RunFolder) -> str:
    """Says that a probe was not begun, and how to begin it."""
    return (
        f"The probe {probe.id} stays queued: its pretraining {pretraining.id} is "
        f"{state_words(pretraining)}. moco-tui resume {pretraining.id} finishes it, and then "
        f"moco-tui resume {probe.id} starts the probe; alone it probes the encoder as it stands."
    )


def end_queued(probe: RunFolder) -> None:
    """Take a probe that has not begun out of all queues: it is stopped, and can be resumed.

    Raises:
        RunError: when another process has it, or its record cannot be written.
    """
    with own(probe, on_change=note_change) as owner:
        owner.log("dropped before it began: its pretraining is not finished")
        owner.transition("stopped")
