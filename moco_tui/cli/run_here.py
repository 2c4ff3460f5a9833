"""Starting runs from the command line: here with progress bars, or in a process of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import own_code
from engine.config.resolve import paths_by_key
from engine.config.schema import AnyConfig
from engine.errors import RunError
from engine.runs import RunFolder, create
from engine.runs.note_limits import checked_name
from engine.runs.root import BranchStart, check_place
from engine.runs.unstarted import taken_back_unless_begun
from engine.sink import Interrupted
from moco_tui.cli.options import Settings
from moco_tui.cli.outcome import print_outcome
from moco_tui.cli.output import print_json, say
from moco_tui.cli.progress import TerminalSink, terminal_sink
from moco_tui.training import detached

if TYPE_CHECKING:
    from engine.jobs.job import Job
    from engine.runtime.process_group import Ranks


@dataclass(frozen=True)
class NewRun:
    """A run whose folder is not made yet.

    Attributes:
        kind: ``pretrain``, ``probe`` or ``study``.
        config: its configuration.
        name: what its user calls it.
        preset: what its settings started from.
        parent: id of the run whose encoder a probe is about.
        checkpoint: which of the parent's checkpoints, see ``Record``.
        start: what a pretraining goes on from, where it does not begin anew.
    """

    kind: str
    config: AnyConfig
    name: str = ""
    preset: str = ""
    parent: str = ""
    checkpoint: str = ""
    start: BranchStart | None = None


def start(
    settings: Settings,
    run: NewRun,
    *,
    detach: bool,
    as_json: bool,
    ranks: Ranks | None = None,
    devices: str = "",
) -> int:
    """Checks everything, makes the run folder, and trains here or in a process of its own.

    Args:
        settings: where runs and data are.
        run: what is to be trained.
        detach: in a process of its own.
        as_json: print the outcome as JSON.
        ranks: those that compute the run with this process; None: it computes alone.
        devices: of the ranks of a detached run, as they were typed; empty for one process.

    Returns:
        The exit code: 0, or 130 after a signal.
    """
    # Around the preparation too: reading a large folder takes minutes, and may be interrupted.
    with terminal_sink(run.kind, hands_over=ranks is None) as sink:
        try:
            prepared = prepare(settings, run, sink)
        except Interrupted:  # while the images were read: there is no run yet
            say("interrupted")
            return 130
        folder = make_folder(settings, run)
        with taken_back_unless_begun(folder):
            say(f"run {folder.id} in {folder.path}")
            if detach:
                return start_detached(folder, settings.data, as_json=as_json, devices=devices)
            outcome = train_here(folder, settings.data, sink, prepared, alone=ranks is None)
    return print_outcome(folder, outcome, as_json=as_json)


def prepare(settings: Settings, run: NewRun, sink: TerminalSink) -> Job:
    """Finds and checks everything that a run needs, so that a mistake leaves no folder behind.

    Its name and the folder of runs first: reading the images may take minutes.

    Raises:
        UserError: one sentence on what is missing or does not fit.
        Interrupted: a signal came meanwhile.
    """
    check_place(settings.root)
    checked_name(run.name)
    # Imports torch, which takes seconds: mistakes in the options have been reported before.
    from engine.jobs.prepare import prepare as prepare_run

    check_own_code(run.config)
    return prepare_run(
        run.config,
        root=settings.root,
        parent=run.parent,
        data_dir=settings.data,
        sink=sink,
        checkpoint=run.checkpoint,
        start=None if run.start is None else run.start.file,
    )


def check_own_code(config: AnyConfig) -> None:
    """Imports the code of the user's own that a configuration names.

    A study would find it missing only in the first of its runs.

    Raises:
        ConfigError: when no person has named the path, or it leads to nothing.
    """
    for key, path in paths_by_key(config):
        own_code.load(path, key)


def make_folder(settings: Settings, run: NewRun) -> RunFolder:
    """The folder of a new run, queued."""
    return create(
        settings.root,
        run.kind,
        run.config,
        name=run.name,
        preset=run.preset,
        parent=run.parent,
        checkpoint=run.checkpoint,
        start=run.start,
    )


def train_here(
    folder: RunFolder,
    data_dir: Path,
    sink: TerminalSink,
    prepared: Job | None = None,
    *,
    allow_other_data: bool = False,
    alone: bool = True,
) -> str:
    """Trains in this process until the end, a signal, or the loss of the terminal.

    Args:
        folder: the run.
        data_dir: where data sets and their caches live.
        sink: shows the progress, and asks for what signals ask for.
        prepared: what ``prepare`` gave for this run, if it was called already.
        allow_other_data: see ``engine.jobs.execute.execute``.
        alone: this process computes the run alone, so that another one can take it over.

    Returns:
        The outcome; after ``handed-over`` a detached process goes on with the run.
    """
    from engine.jobs.execute import execute
    from moco_tui.cli.user_notifier import notifying

    def begun(pid: int) -> None:
        say(f"run {folder.id} goes on in the background, as process {pid}")

    other_data = [folder.id] if allow_other_data else []
    successor = detached.successor(folder, data_dir, begun=begun, other_data=other_data)
    return notifying(execute)(  # type: ignore[no-any-return] # as execute does
        folder,
        data_dir=data_dir,
        sink=sink,
        prepared=prepared,
        successor=successor if alone else None,
        allow_other_data=allow_other_data,
        start_worker=lambda worker: start_worker(worker, data_dir),
    )


def start_worker(worker: RunFolder, data_dir: Path) -> subprocess.Popen[bytes]:
    """Starts a detached process for a worker of a study.

    Raises:
        RunError: when it cannot be started.
    """
    return detached.start(worker, data_dir=data_dir)


def start_detached(
    folder: RunFolder,
    data_dir: Path,
    *,
    as_json: bool,
    allow_other_data: bool = False,
    devices: str = "",
) -> int:
    """Trains in a process of its own, and returns once it has given a sign of life.

    Raises:
        RunError: when it could not be started or ended before it began.
    """
    other_data = [folder.id] if allow_other_data else []
    process = detached.start(folder, data_dir=data_dir, other_data=other_data, devices=devices)
    if not detached.took_over(process, folder):
        raise RunError(
            f"The detached process for run {folder.id} ended before it began; what it said is "
            f"in {folder.log_path}."
        )
    say(f"detached as process {process.pid}; moco-tui watch {folder.id} follows it")
    if as_json:
        print_json({"id": folder.id, "path": str(folder.path), "pid": process.pid})
    return 0


def start_all_detached(folders: Sequence[RunFolder], data_dir: Path, *, as_json: bool) -> int:
    """Trains runs in turn in a process of their own, and returns once that has begun.

    Raises:
        RunError: when it could not be started or ended before it began.
    """
    process = detached.start(*folders, data_dir=data_dir)
    first = folders[0]
    if not detached.took_over(process, first):
        raise RunError(
            f"The detached process for run {first.id} ended before it began; what it said is in "
            f"{first.log_path}."
        )
    say(
        f"detached as process {process.pid}: {len(folders)} runs in turn; moco-tui watch "
        f"{first.id} follows the first"
    )
    if as_json:
        print_json({"ids": [folder.id for folder in folders], "pid": process.pid})
    return 0
