"""Trains, resumes and ends a run of any kind; app, commands and studies all call ``execute``.

What differs from kind to kind is in the classes of ``engine.jobs.job_table``.
"""

from __future__ import annotations

import contextlib
import gc
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch

from engine.config.phrases import listed
from engine.errors import RunError, TrainingError, UserError, described
from engine.history.index import note_change
from engine.jobs.device_history import recorded_devices
from engine.jobs.free_card import on_device, on_free_card
from engine.jobs.job import Job, JobContext, ResumePoint, StudyContext
from engine.jobs.job_table import JOBS
from engine.jobs.owner_sink import OwnerSink
from engine.jobs.prepare import prepare
from engine.jobs.provenance_notes import noted_provenance
from engine.jobs.recorded_config import config_of, placed, runnable_config
from engine.jobs.study_team import StartWorker
from engine.pretrain.loop import Outcome
from engine.runs import Record, RunFolder, RunOwner
from engine.runs.data_identity import (
    OtherDataError,
    check_same_data,
    differences,
    identity_in,
    last_identity,
)
from engine.runs.owner import ignore_change
from engine.runs.run_lock import Successor
from engine.runs.takeover import own
from engine.runtime.device_lock import DeviceLock, device_key
from engine.runtime.process_group import joined_ranks
from engine.sink import Interrupted, Sink, Tee
from engine.study.workers import study_of

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
    allow_other_data: bool = False,
    start_worker: StartWorker | None = None,
    device: str = "",
) -> Outcome:
    """Trains, resumes or probes a run in the calling thread until it ends or is asked to.

    Args:
        folder: a run that was created; with a checkpoint it continues from there.
        data_dir: where data sets and their caches live.
        sink: receives everything that the run folder does, and may make requests, which are
            answered before those in the folder.
        lock_fd: the run's lock, inherited from the process that handed the run over, or taken
            in this one.
        device_fd: the lock of the device, inherited likewise.
        prepared: what ``prepare`` gave for this run, if it was called already.
        successor: starts the process that continues the run after a hand-over. Called when
            the resume point is on disk and the memory of the device is free, while the run is
            still locked. Without one, the caller has to have the run resumed.
        study: what is loaded already, for a run of a study.
        allow_other_data: a person has said that the run is to go on although its images or labels
            are no longer those that it began with; the record says from which step.
        start_worker: starts a detached process for a worker of a study; without one, a study of
            several workers is computed by this process alone.
        device: the card on which a run that may take any (``runtime.device`` is auto) is to be
            computed where it is free, as ``cuda:1``.

    Returns:
        ``finished``, ``stopped`` or ``handed-over``; the record says the same. A run that the
        successor did not take over is stopped.

    Raises:
        RunBusyError: a living process owns the run.
        OtherDataError: it was to go on with other images or labels; it is stopped, as it was.
        TrainingError: it failed after its first step could begin; the record says failed.
        UserError: it could not begin; the record says failed and why. The record is left unchanged
            where it belongs to another user and names code that this user has not named.
    """
    device_lock = DeviceLock(device_fd)
    with contextlib.closing(device_lock):
        _check_own_code(folder)  # first: taking the run over makes its record this user's file
        on_change = note_change if study_of(folder) is None else ignore_change  # a worker: no index
        with own(folder, lock_fd=lock_fd, on_change=on_change) as owner:
            # The owner last: a request of the caller's sink (a signal, a key) comes first.
            owner_sink = OwnerSink(owner, device_lock)
            both: Sink = owner_sink if sink is None else Tee([sink, owner_sink])
            try:
                context = JobContext(
                    folder, data_dir, both, execute, allow_other_data, start_worker
                )
                outcome = _train(owner, device_lock, context, prepared, study, device)
            except OtherDataError as error:  # no failure: nothing of the run has changed
                owner.log(str(error))
                owner.transition("stopped", error=str(error))
                raise
            except Interrupted as interrupted:  # asked to leave outside the loop over steps
                both.acknowledge(interrupted.request, owner.record.step)
                outcome = "stopped" if interrupted.request == "stop" else "handed-over"
            except (
                BaseException
            ) as error:  # also KeyboardInterrupt: the record must not say running
                _fail(owner, error, began=owner_sink.began, tell_end=owner_sink.tell_end)
            owner_sink.tell_end(outcome)
            return _end(owner, device_lock, outcome, successor)


def _check_own_code(folder: RunFolder) -> None:
    """Refuses code that another user's record names, before the record is changed.

    Raises:
        ConfigError: see ``runnable_config``.
    """
    with contextlib.suppress(RunError):  # ``_train`` meets it again, and records the failure
        runnable_config(folder)


def _train(
    owner: RunOwner,
    device_lock: DeviceLock,
    context: JobContext,
    prepared: Job | None,
    study: StudyContext | None,
    device: str,
) -> Outcome:
    """The run from its state before this start to its outcome."""
    sink = context.sink
    folder, record = owner.folder, owner.record
    root = folder.path.parent
    config = placed(config_of(record), "" if study is None else study.device)
    # Read before the run is shown as running, since its checkpoint may still be refused.
    point = JOBS[record.kind].resume_point(folder, record)
    owner.transition("running")
    # A study says where its runs compute, and a launcher where ranks do.
    if study is None and joined_ranks() is None:
        at = "" if prepared is None else str(prepared.runtime.device)
        found = on_free_card(config, device_lock, device=device, prepared=at)
        if found is not config and on_device(found) != at:  # it was prepared for another card
            prepared = None
        config = found
    job = prepared or prepare(
        config,
        root=root,
        parent=record.parent,
        data_dir=context.data_dir,
        sink=sink,
        checkpoint=record.checkpoint,
        start=folder.start_path if point is None and record.began_from is not None else None,
        recorded=None if point is None else point.facts,
        study=study,
    )
    if job.dataset.left_out:
        sink.log(job.dataset.left_out)
    for name in job.dataset.skipped[:_SKIPPED_SHOWN]:
        sink.log(f"skipped a broken image: {name}")
    _check_data(record, job, point, sink, allowed=context.allow_other_data)
    # After ``prepare``, so that mistakes are found before what may be a long wait.
    if job.locks_device:
        device_lock.acquire(
            device_key(job.runtime.device),
            name=job.runtime.name,
            holder=f"run {record.id} (process {record.pid})",
            sink=sink,
        )
    step = job.resume_step(record, point, root)
    if step is not None:  # later steps are computed again: their metrics are removed
        owner.resume_at(step)
    with (
        noted_provenance(owner, config, job.runtime.device, step or 0),
        recorded_devices(folder, config, job.runtime.device),
    ):
        return job.run(context, point)


def _check_data(
    record: Record, job: Job, point: ResumePoint | None, sink: Sink, *, allowed: bool
) -> None:
    """Compares the data with those of an earlier part of the run; says so where they differ.

    Raises:
        OtherDataError: where that is not allowed.
    """
    # The resume point first: it is what the run goes on from.
    then = identity_in(point.state.get("data")) if point is not None else None
    then = then or last_identity(record.data)
    if record.started is None or then is None:
        return
    now = job.dataset.identity
    if job.data_kept == "none":
        changed = differences(then, now, test=True)
        line = f"{listed(changed)} changed since: runs with the earlier data do not count"
        line = line if changed else ""
    else:
        whole = job.data_kept == "all"
        line = check_same_data(then, now, whose=f"run {record.id}", test=whole, allowed=allowed)
    if line:
        sink.log(line)


def _fail(
    owner: RunOwner,
    error: BaseException,
    *,
    began: bool,
    tell_end: Callable[[str], None] | None = None,
) -> NoReturn:
    """Records a failure and raises it in the form that ``execute`` documents.

    Raises:
        TrainingError: the run had begun, or the error is none of ``engine.errors``.
        UserError: it could not begin.
        BaseException: no Exception (KeyboardInterrupt, SystemExit), as it is.
    """
    if isinstance(error, UserError):
        _record_failure(owner, str(error), str(error), tell_end)
        if began and not isinstance(error, TrainingError):
            raise TrainingError(str(error)) from error
        raise error
    reason = described(error)
    _record_failure(owner, reason, "".join(traceback.format_exception(error)), tell_end)
    if isinstance(error, Exception):
        raise TrainingError(
            f"Run {owner.record.id} failed ({reason}); the traceback is in {owner.folder.log_path}."
        ) from error
    raise error


def _record_failure(
    owner: RunOwner, reason: str, details: str, tell_end: Callable[[str], None] | None
) -> None:
    """Logs and records a failure; a run whose folder cannot be written shows as lost."""
    with contextlib.suppress(RunError):
        owner.log(details)
        if tell_end is not None:
            tell_end("failed")
        owner.transition("failed", error=reason)


def _end(
    owner: RunOwner, device_lock: DeviceLock, outcome: Outcome, successor: Successor | None
) -> Outcome:
    """Records the outcome and, after a hand-over, starts the successor; returns the outcome."""
    paused = owner.record.status == "paused"
    try:
        owner.transition(outcome)
    except RunError as error:  # its metrics are not on the disk
        _fail(owner, error, began=True)
    if outcome != "handed-over":
        return outcome
    if paused:
        owner.folder.request("pause")  # the successor finds it and pauses again
    return outcome if successor is None else _hand_over(owner, device_lock, successor)


def _hand_over(owner: RunOwner, device_lock: DeviceLock, successor: Successor) -> Outcome:
    """Starts the successor; where that fails, the run is stopped."""
    # Reference cycles keep the trainer, and with it memory of the device that the successor needs.
    gc.collect()
    torch.cuda.empty_cache()  # does nothing where CUDA is not in use
    problem = "the process that was to go on with the run ended at once"
    try:
        if successor(owner.lock_fd, device_lock.fd):
            return "handed-over"
    except UserError as error:
        problem = str(error)
    owner.transition("stopped")  # so that it is not shown as handed over for ever
    owner.log(f"{problem}; the run is stopped and can be resumed")
    return "stopped"
