"""The command that trains runs without a terminal: the detached process."""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.errors import TrainingError, UserError
from engine.jobs.recorded_config import runnable_config
from engine.machine.rank_place import several_ranks
from engine.runs import RunFolder
from moco_tui.cli.options import ALLOW_CODE, Settings, shared_options
from moco_tui.cli.output import clean, say
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.ranks import RankOptions, over_ranks
from moco_tui.cli.run_here import start_worker, train_here
from moco_tui.cli.user_notifier import notifying
from moco_tui.training import detached
from moco_tui.training.queued_probes import stays_queued, waits_in_vain

if TYPE_CHECKING:
    from engine.runtime.process_group import Ranks


@click.command(hidden=True)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--lock-fd", "lock_fds", type=int, multiple=True)
@click.option("--device-fd", type=int, default=None)
@click.option("--on", "device", default="", metavar="DEVICE")
@click.option("--other-data", multiple=True, metavar="ID")
@click.option("--devices", default=None, metavar="LIST")
@ALLOW_CODE
@shared_options
@click.pass_obj
def _train(
    settings: Settings,
    paths: tuple[Path, ...],
    lock_fds: tuple[int, ...],
    device_fd: int | None,
    device: str,
    other_data: tuple[str, ...],
    devices: str | None,
) -> int:
    """Trains the runs in PATHS in turn, without a terminal.

    With ``--devices`` it is one run, and this process starts the ranks that compute it together.

    ``--lock-fd`` (one a run) and ``--device-fd`` are descriptors of locks that the process
    inherited; ``--on`` names the card to try first; ``--other-data`` names runs that may go on with
    other images. A signal ends the run that is trained, and leaves those behind it queued. A probe
    behind its pretraining stays queued, too, unless that has finished.
    """
    detached.accept_signals()
    if devices is not None:
        return _train_over_ranks(settings, RunFolder(paths[0]), devices, lock_fds, other_data)
    runs = [(RunFolder(path), fd) for path, fd in zip_longest(paths, lock_fds)]
    # The process that started this one waits for it (detached.took_over); torch takes seconds.
    if lock_fds:
        detached.write_first_heartbeat(runs[0][0])
    queued_with = [folder for folder, _ in runs]
    code = 0
    with terminal_sink("", quiet=True) as sink:
        from engine.jobs.execute import execute

        train = notifying(execute)
        while runs and not sink.interrupted:
            folder, lock_fd = runs.pop(0)
            pretraining = waits_in_vain(folder, queued_with)
            if pretraining is not None:
                say(clean(stays_queued(folder, pretraining)))
                if lock_fd is not None:
                    os.close(lock_fd)  # another process may start it
                continue
            handed: list[int] = []
            successor = detached.successor(
                folder, settings.data, begun=handed.append, waiting=runs, other_data=other_data
            )
            try:
                train(
                    folder,
                    data_dir=settings.data,
                    sink=sink,
                    lock_fd=lock_fd,
                    device_fd=device_fd,
                    successor=successor,
                    allow_other_data=folder.id in other_data,
                    start_worker=lambda worker: start_worker(worker, settings.data),
                    device=device,
                )
            except UserError as error:  # one run that fails does not keep the others waiting
                say(clean(str(error)))
                code = 1 if isinstance(error, TrainingError) else 2
            if handed:  # the process that took this run over has the waiting ones as well
                break
            device_fd = None  # the inherited lock was for the first run
            if runs:
                detached.redirect_output(runs[0][0].log_path)
    return 130 if sink.interrupted else code


def _train_over_ranks(
    settings: Settings,
    folder: RunFolder,
    devices: str,
    lock_fds: tuple[int, ...],
    other_data: tuple[str, ...],
) -> int:
    """Starts the ranks of a run, or is one of them."""
    options = RankOptions(devices, parallel=True)
    if not several_ranks():
        detached.write_first_heartbeat(folder)
        for fd in lock_fds:  # rank 0 takes the lock; the ranks inherit no descriptors
            os.close(fd)
    settings.runs_dir = str(folder.path.parent)

    def work(ranks: Ranks | None) -> int:
        with terminal_sink("", quiet=True) as sink:
            train_here(
                folder,
                settings.data,
                sink,
                allow_other_data=folder.id in other_data,
                alone=ranks is None,
            )
        return 130 if sink.interrupted else 0

    return over_ranks(settings, options, runnable_config(folder), work, detach=False)
