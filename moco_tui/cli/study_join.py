"""A second call of a study that another process computes: it joins in, or says who has what."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.config.schema import StudyConfig
from engine.errors import ConfigError, RunBusyError, RunError
from engine.runs import RunFolder
from engine.runs.heartbeat import host_name
from engine.runs.record import ACTIVE
from engine.study.grid import name_of, pretrainings
from engine.study.study_state import StudyState
from engine.study.workers import Units, living_workers, new_worker, worker_words
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, print_json, say
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.run_here import check_own_code, start_worker, train_here
from moco_tui.cli.study_report import config_of_study
from moco_tui.training import detached

if TYPE_CHECKING:
    from engine.jobs.study_shares import Share

_MOST_NAMED = 8  # holders in a sentence


def is_computed(study: RunFolder) -> bool:
    """Whether another process has a study."""
    return study.alive() or study.status() in ACTIVE


def join(
    settings: Settings,
    study: RunFolder,
    config: StudyConfig,
    study_state: StudyState,
    *,
    detach: bool,
    as_json: bool,
) -> str:
    """Works on a study that another process has, as one more worker, or one on each device.

    Args:
        settings: where it is.
        study: the study, which ``is_computed``.
        config: its settings.
        study_state: how far it is.
        detach: all workers are processes of their own; else the first is this one.
        as_json: print the facts of those processes.

    Returns:
        The outcome of the first worker, ``detached`` for a process of its own.

    Raises:
        RunBusyError: there is nothing to take up; it says who has what.
    """
    check_open(study, config, study_state)
    check_own_code(config)
    from engine.jobs.study_shares import with_share  # imports torch

    shares = _shares(study, config)
    workers = [new_worker(study, with_share(config, share), "joined worker") for share in shares]
    say(f"joining study {study.id}, which process {study.record().pid} has")
    apart = workers if detach else workers[1:]
    pids = [_start(worker, settings) for worker in apart]
    if detach:
        say(
            f"detached as {'process' if len(pids) == 1 else 'processes'} "
            f"{', '.join(map(str, pids))}; moco-tui watch {study.id} follows the study"
        )
        if as_json:
            facts = {"id": study.id, "path": str(study.path), "pid": pids[0]}
            print_json(facts | ({"pids": pids} if pids[1:] else {}))
        return "detached"
    with terminal_sink("study", hands_over=True) as sink:
        outcome = train_here(workers[0], settings.data, sink)
    if outcome == "stopped":  # they were begun by this call, and end with it
        for worker in apart:
            with contextlib.suppress(RunError):
                worker.request("stop")
    return outcome


def _start(worker: RunFolder, settings: Settings) -> int:
    """Starts the process of a worker; its number."""
    process = start_worker(worker, settings.data)
    detached.took_over(process, worker)
    device = config_of_study(worker.record()).pretrain.runtime.device
    say(f"process {process.pid} works on {device}")
    return process.pid


def _shares(study: RunFolder, config: StudyConfig) -> Sequence[Share]:
    """What each worker that joins computes with.

    Raises:
        ConfigError: when the devices that are asked for cannot be.
        RunBusyError: when there is no room beside those that compute the study already.
    """
    from engine.jobs.study_shares import share_of, shares_on
    from engine.runtime.named_devices import named_devices

    here = [w for w in living_workers(study) if w.record().host == host_name()]
    alone = not here and study.record().host == host_name()  # the study itself computes
    if not config.devices:
        others = len(here) + alone
        try:
            return [share_of(config, others, others + 1) if others else share_of(config, 0, 1)]
        except ConfigError as error:
            why = str(error).removesuffix(" Give --workers a smaller number.")
            raise RunBusyError(
                f"{_who(study, config)} One worker more has no room here: {why}"
            ) from None
    used = {config_of_study(w.record()).pretrain.runtime.device: worker_words(w) for w in here}
    if alone:
        used[study.record().device.split(" ")[0]] = f"process {study.record().pid}"
    wanted = named_devices(config.devices, used)
    for device in wanted:
        if device != "cpu" and device in used:
            raise RunBusyError(f"{_who(study, config)} On {device} {used[device]} is at it.")
    if not wanted:
        raise RunBusyError(f"{_who(study, config)} Each card has a worker of it already.")
    beside = sum(config_of_study(w.record()).pretrain.runtime.device == "cpu" for w in here)
    return shares_on(config, wanted, beside + (alone and "cpu" in used))


def check_open(study: RunFolder, config: StudyConfig, study_state: StudyState) -> None:
    """Refuses to join a study of which nothing can be taken up.

    Raises:
        RunBusyError: then; it says who has what.
    """
    record = study.record()
    if record.status == "queued":
        since = _time(record.created)
        raise RunBusyError(
            f"Study {study.id} of this configuration waits for its turn in another process since "
            f"{since}; start it there, or take it out of the queue there."
        )
    if record.status == "paused":
        raise RunBusyError(
            f"{_who(study, config)} It is paused; moco-tui continue {study.id} lets it go on."
        )
    if not any(_free(study, config, study_state)):
        raise RunBusyError(
            f"{_who(study, config)} Nothing is left that nobody has; moco-tui watch {study.id} "
            "follows it, and --show prints what is done."
        )


def _free(study: RunFolder, config: StudyConfig, study_state: StudyState) -> Iterator[bool]:
    """Of each unit whether it is left and nobody has it."""
    units = Units(study)
    wanting = {
        (cell.variant, cell.seed)
        for cell, found in study_state.cells.items()
        if found.state not in ("done", "failed") and cell.source == "moco"
    }
    for unit, (variant, seed) in enumerate(pretrainings(config)):
        state = study_state.pretrainings[variant.label, seed].state
        left = (variant.label, seed) in wanting and state not in (*ACTIVE, "queued", "failed")
        yield left and not units.held(unit)


def _who(study: RunFolder, config: StudyConfig) -> str:
    """Who has the study, and which process has which unit."""
    record = study.record()
    units = Units(study)
    held = []
    for unit, (variant, seed) in enumerate(pretrainings(config)):
        holder = units.holder(unit)
        if holder is not None:
            held.append(
                f"{name_of(variant, seed)} with process {holder.pid} on {holder.host} since "
                f"{_time(holder.since)}"
            )
    more = f"; and {len(held) - _MOST_NAMED} more" if len(held) > _MOST_NAMED else ""
    since = f" since {_time(record.running_since)}" if record.running_since else ""
    text = (
        f"Study {study.id} of this configuration is computed by process {record.pid} on "
        f"{record.host}{since}" + (f": {'; '.join(held[:_MOST_NAMED])}{more}." if held else ".")
    )
    return clean(text)


def _time(seconds: float) -> str:
    """A moment as the clock of this place shows it: ``2026-01-31 18:05:09``."""
    return f"{datetime.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
