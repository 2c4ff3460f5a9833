"""Runs that no process works on although they have not ended: the app offers them when it opens."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.config.missing_settings import read_config
from engine.config.schema import StudyConfig
from engine.errors import RunError
from engine.history.entry import Entry
from engine.runs import RunFolder
from engine.runs.data_identity import last_identity
from engine.runs.heartbeat import ALIVE_SECONDS, host_name
from engine.runs.ownership import owned, owner_of, users_of
from engine.runs.submission import known_submission
from moco_tui.training.queued_probes import is_finished, pretraining_of

FRESH_SECONDS = 7 * 86_400.0
"""A run that was lost longer ago is no longer offered; the table of runs still shows it as lost."""

# States in the index behind which a loss may hide: a process that dies does not tell the index.
_MAY_BE_LOST = frozenset({"lost", "queued", "running", "paused", "handed-over"})


@dataclass(frozen=True)
class LostRun:
    """A run that can be resumed.

    Attributes:
        folder: the run.
        title: its name or id.
        kind: ``pretrain``, ``probe`` or ``study``.
        reached: steps that its record names.
        step: steps that its checkpoint holds, from which it goes on; 0 when there is none.
        queued: it never began: the process in which it waited for its turn is gone.
    """

    folder: RunFolder
    title: str
    kind: str
    reached: int
    step: int
    queued: bool

    def sentence(self) -> str:
        """What happened and where it would go on."""
        if self.queued:
            return "it waited for its turn and has not begun"
        if self.kind in ("probe", "study"):
            return "its process is gone; what was finished of it is kept"
        if not self.step:
            return f"its process is gone after step {self.reached}; there is no checkpoint yet"
        return f"its process is gone after step {self.reached}; goes on from step {self.step}"


def lost_among(entries: Iterable[Entry], root: Path) -> list[LostRun]:
    """Those among the entries of a history that were lost lately on this machine.

    Runs that were submitted to Slurm are left out: they may wait in its queue. Runs of other
    machines are left out: one that shares the folder may still work on what looks
    lost from here. So are runs of other users, whom nobody has named, the runs of a lost study,
    which starts them itself, and probes that waited for a pretraining which was stopped: nobody has
    asked to probe that.

    Args:
        entries: of the history.
        root: the runs folder.
    """
    now = time.time()
    entries = list(entries)
    found = []
    for entry in sorted(entries, key=lambda entry: entry.place):
        if entry.status in _MAY_BE_LOST and owner_of(root / entry.id) == os.geteuid():
            with contextlib.suppress(RunError, OSError):  # damaged, or deleted in the meantime
                lost = _lost(RunFolder(root / entry.id), now)
                if lost is not None:
                    found.append(lost)
    taken = {id_ for run in found if run.kind == "study" for id_ in _parts(run.folder, entries)}
    return [run for run in found if run.folder.id not in taken and not _waits(run, found)]


def _lost(folder: RunFolder, now: float) -> LostRun | None:
    """The run, if it was lost on this machine less than ``FRESH_SECONDS`` ago."""
    record = folder.record()
    status = folder.status(record)
    last_sign = max(record.created, folder.record_path.stat().st_mtime)
    # A run that was made a moment ago is queued and not locked yet: it is about to be started. One
    # from the future was made before the clock was set back.
    orphan = status == "queued" and not folder.alive() and abs(now - last_sign) > ALIVE_SECONDS
    if not (status == "lost" or orphan) or now - last_sign > FRESH_SECONDS:
        return None
    if record.host not in ("", host_name()):
        return None
    if known_submission(folder) is not None:  # it goes on in Slurm, or where somebody says
        return None
    return LostRun(
        folder=folder,
        title=folder.title(),
        kind=record.kind,
        reached=record.step,
        step=record.checkpoint_step or 0,
        queued=orphan,
    )


def _waits(run: LostRun, found: Iterable[LostRun]) -> bool:
    """Whether a run is a probe that has to wait for a pretraining that nobody is to resume."""
    pretraining = pretraining_of(run.folder) if run.queued else None
    if pretraining is None or is_finished(pretraining):
        return False
    return all(pretraining != other.folder for other in found)


def _parts(study: RunFolder, entries: Iterable[Entry]) -> set[str]:
    """Ids of the runs of a study, which resumes them itself."""
    from engine.study.study_state import state_from_entries

    try:
        record = study.record()
        config = read_config("study", record.config, f"The record of run {record.id}")
    except RunError:
        return set()
    assert isinstance(config, StudyConfig)
    entries = owned(entries, study.path.parent, users_of(study.path))
    study_state = state_from_entries(config, entries, last_identity(record.data))
    trained = {pretraining.run for pretraining in study_state.pretrainings.values()}
    return trained | {cell.run for cell in study_state.cells.values()}
