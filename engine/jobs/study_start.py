"""Computes a study: in this process, by workers, or as one of these."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from engine.config.schema import StudyConfig
from engine.errors import RunError
from engine.jobs.job import Execute
from engine.jobs.study_children import StudyChildren
from engine.jobs.study_run import Datasets, StudyRun
from engine.jobs.study_shares import Share
from engine.jobs.study_team import StartWorker, Team, TeamSink, end_team
from engine.runs import RunFolder
from engine.sink import Interrupted, Sink


def run_study(
    config: StudyConfig,
    *,
    study: RunFolder,
    data_dir: Path,
    datasets: Datasets,
    sink: Sink,
    device: str,
    execute: Execute,
    shares: Sequence[Share],
    start_worker: StartWorker | None = None,
) -> None:
    """Computes every cell that is missing: seeds outside, variants inside.

    A run of the study that fails is skipped, the others continue, and the study fails at the end.
    One that had failed before is left alone (``engine.study.retry`` makes it one to go on with).
    For one that another process works on, the study waits when everything else is done.

    Args:
        config: the grid.
        study: its folder; its runs lie beside it. Runs of other users than this one, and the one
            whose study it is, are left alone, and their cells are computed anew.
        data_dir: where data sets and their caches live.
        datasets: the images of its variants.
        sink: receives each cell (metrics), the progress of the run in work, and the outcome so
            far; its requests are passed on to that run, and to all workers.
        device: name of the device, for people.
        execute: ``engine.jobs.execute.execute``, which trains each run of the study.
        shares: what each worker computes with; one alone is computed with here.
        start_worker: starts a worker; None: everything is computed here.

    Raises:
        Interrupted: the study was asked to stop or to be handed over; the run in work is stopped
            with its resume point, and after a stop so are those of all workers.
        TrainingError: some runs failed, or all workers ended.
        UserError: a run could not begin.
    """
    team = Team(study, config, shares, start_worker)
    whole = TeamSink(sink, team)
    children = StudyChildren(study, data_dir, whole, execute)
    run = StudyRun(config, study, datasets, whole, children)
    try:
        run.begin(device)
        team.take_over()
        if len(shares) > 1 and start_worker is not None:
            team.oversee(run.left, run.sink)
        else:
            if len(shares) > 1:
                sink.log("no workers can be started from here: this process computes alone")
            run.compute()
        run.finish()
    except BaseException as error:
        end_team(team, error, sink)
        raise


def run_worker(
    config: StudyConfig,
    *,
    study: RunFolder,
    data_dir: Path,
    datasets: Datasets,
    sink: Sink,
    device: str,
    execute: Execute,
) -> None:
    """Takes units of a study that another process has, until everything is done.

    It leaves behind its present unit when no process has the study any more. A run that fails is
    reported by the study, from the history.

    Args:
        config: the study, with the device and the threads of this worker.
        study: what it works for.
        data_dir: where data sets and their caches live.
        datasets: the images of its variants.
        sink: that of the worker.
        device: name of the device, for people.
        execute: ``engine.jobs.execute.execute``.

    Raises:
        Interrupted: the worker was asked to stop or to be handed over, or nobody has the study.
        UserError: a run could not begin.
    """
    children = StudyChildren(study, data_dir, sink, execute)
    run = StudyRun(config, study, datasets, sink, children, is_worker=True)
    run.begin(device)
    try:
        run.compute()
    except Interrupted:
        if children.stopped:  # as where the study has no workers: it stops with its run
            with contextlib.suppress(RunError):
                study.request("stop")
        raise
