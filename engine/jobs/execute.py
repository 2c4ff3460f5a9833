"""The one path by which every kind of run is trained, resumed and ended, whoever starts it.

What differs from kind to kind is in the classes of ``engine.jobs.job_table``.
"""

from __future__ import annotations

import contextlib
import gc
import traceback
from pathlib import Path
from typing import NoReturn

import torch

from engine.errors import RunError, TrainingError, UserError
from engine.history.index import note_change
from engine.jobs.job import Job, JobContext, StudyContext
from engine.jobs.job_table import JOBS
from engine.jobs.owner_sink import OwnerSink
from engine.jobs.prepare import prepare
from engine.jobs.recorded_config import config_of, runnable_config
from engine.pretrain.loop import Outcome
from engine.runs import RunFolder, RunOwner
from engine.runs.takeover import Successor, own
from engine.runtime.device_lock import DeviceLock, device_key
from engine.sink import Interrupted, Sink, Tee

_SKIPPED_SHOWN = 20  # broken images that the log names


def execute(
    folder: RunFolder,
    *,
    data_dir: Path,
    sink: Sink | None = None,
    lock_fd: int | None = None,
    device_fd: int | None = None,
    prepared: Job | None = None,
    successor: Successor | None = None,
    study: StudyContext | None = None,
) -> Outcome:
    """Trains, resumes or probes a run in the calling thread until it ends or is asked to.

    Args:
        folder: a run that was created; with a checkpoint it goes on from there.
        data_dir: where data sets and their caches live.
        sink: hears everything beside the run folder and may ask too (its requests come first).
        lock_fd: the run's lock, inherited from the process that handed the run over, or taken
            in this one.
        device_fd: the lock of the device, inherited likewise.
        prepared: what ``prepare`` gave for this run, if it was called already.
        successor: starts the process that goes on with the run after a hand-over. Called when
            the resume point is on disk and the memory of the device is free, while the run is
            still locked. Without one, whoever asked for the hand-over has to resume the run.
        study: what a run of a study finds ready.

    Returns:
        ``finished``, ``stopped`` or ``handed-over``; the record says the same. A run that the
        successor did not take over is stopped.

    Raises:
        RunBusyError: a living process owns the run.
        TrainingError: it failed after its first step could begin; the record says failed.
        UserError: it could not begin; the record says failed and why. Where the record of somebody
            else names code that nobody here has named, it stays as it is.
    """
    device_lock = DeviceLock(device_fd)
    with contextlib.closing(device_lock):
        _check_own_code(folder)  # first: taking the run over makes its record this user's file
        with own(folder, lock_fd=lock_fd, on_change=note_change) as owner:
            owner_sink = OwnerSink(owner, device_lock)
            both: Sink = owner_sink if sink is None else Tee([sink, owner_sink])
            try:
                outcome = _train(owner, device_lock, data_dir, both, prepared, study)
            except Interrupted as interrupted:  # asked to leave outside the loop over steps
                both.acknowledge(interrupted.request, owner.record.step)
                outcome = "stopped" if interrupted.request == "stop" else "handed-over"
            except BaseException as error:
                _fail(owner, error, began=owner_sink.began)
            return _end(owner, device_lock, outcome, successor)


def _check_own_code(folder: RunFolder) -> None:
    """Refuses code of somebody else's before the record is touched.

    Raises:
        ConfigError: see ``runnable_config``.
    """
    with contextlib.suppress(RunError):  # a bad record is a failure of the run: see ``_train``
        runnable_config(folder)


def _train(
    owner: RunOwner,
    device_lock: DeviceLock,
    data_dir: Path,
    sink: Sink,
    prepared: Job | None,
    study: StudyContext | None,
) -> Outcome:
    """The run from its state before this start to its outcome."""
    folder, record = owner.folder, owner.record
    root = folder.path.parent
    config = config_of(record)
    # Read first: nobody sees the run as running while its checkpoint may still be refused.
    point = JOBS[record.kind].resume_point(folder, record)
    owner.transition("running")
    job = prepared or prepare(
        config,
        root=root,
        parent=record.parent,
        data_dir=data_dir,
        sink=sink,
        recorded=None if point is None else point.facts,
        study=study,
    )
    for name in job.dataset.skipped[:_SKIPPED_SHOWN]:
        sink.log(f"skipped a broken image: {name}")
    if job.locks_device:
        device_lock.acquire(
            device_key(job.runtime.device),
            name=job.runtime.name,
            holder=f"run {record.id} (process {record.pid})",
            sink=sink,
        )
    step = job.resume_step(record, point, root)
    if step is not None:  # what the earlier part did after its resume point is done again
        owner.resume_at(step)
    return job.run(JobContext(folder, data_dir, sink, execute), point)


def _fail(owner: RunOwner, error: BaseException, *, began: bool) -> NoReturn:
    """Records a failure, and raises it as what the caller is told.

    Raises:
        TrainingError: the run had begun, or nobody foresaw the failure.
        UserError: it could not begin.
        BaseException: what is no error but ends the process.
    """
    if isinstance(error, UserError):
        _record_failure(owner, str(error), str(error))
        if began and not isinstance(error, TrainingError):
            raise TrainingError(str(error)) from error
        raise error
    reason = f"{type(error).__name__}: {error}".strip(": ")
    _record_failure(owner, reason, "".join(traceback.format_exception(error)))
    if isinstance(error, Exception):
        raise TrainingError(
            f"Run {owner.record.id} failed ({reason}); the traceback is in {owner.folder.log_path}."
        ) from error
    raise error


def _record_failure(owner: RunOwner, reason: str, details: str) -> None:
    """Where the folder can still be written; else the run shows as lost."""
    with contextlib.suppress(RunError):
        owner.log(details)
        owner.transition("failed", error=reason)


def _end(
    owner: RunOwner, device_lock: DeviceLock, outcome: Outcome, successor: Successor | None
) -> Outcome:
    """The run in its last state here, and with its successor after a hand-over."""
    paused = owner.record.status == "paused"
    owner.transition(outcome)
    if outcome != "handed-over":
        return outcome
    if paused:
        owner.folder.request("pause")  # the successor finds it and pauses again
    return outcome if successor is None else _hand_over(owner, device_lock, successor)


def _hand_over(owner: RunOwner, device_lock: DeviceLock, successor: Successor) -> Outcome:
    # The trainer left in cycles still holds memory of the device, which the successor may need.
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA is not in use
    problem = "the process that was to go on with the run ended at once"
    try:
        if successor(owner.lock_fd, device_lock.fd):
            return "handed-over"
    except UserError as error:
        problem = str(error)
    owner.transition("stopped")
    owner.log(f"{problem}; the run is stopped and can be resumed")
    return "stopped"
