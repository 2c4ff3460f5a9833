"""One probe for each checkpoint of a pretraining: accuracy against epochs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from engine.config.pretraining_key import plain
from engine.config.slurm_schema import SlurmOptions
from engine.errors import ConfigError, RunError
from engine.history.history import History
from engine.history.shown import encoder_step
from engine.runs import RunFolder
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.kept_checkpoints import kept_checkpoints
from engine.runs.unstarted import taken_back_unless_begun
from engine.sink import Interrupted
from engine.study.result_keys import row_key
from engine.study.sought import probe_keys
from moco_tui.cli.options import Settings
from moco_tui.cli.outcome import say_outcome
from moco_tui.cli.output import print_json, print_text, say, table
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.run_here import NewRun, make_folder, prepare, start_all_detached, train_here
from moco_tui.cli.submit_options import submit_new
from moco_tui.present.epoch_curve_table import curve_facts, curves_of, epoch_rows


def probe_each(
    settings: Settings,
    new: NewRun,
    encoder: CheckpointRef,
    *,
    detach: bool,
    options: SlurmOptions | None = None,
    as_json: bool,
) -> int:
    """Probes every kept checkpoint of a run, and its last one; then prints the curve.

    Encoders that have a finished probe of the same settings are left out.

    Args:
        settings: of the command.
        new: the probe; its checkpoint is set for each.
        encoder: the run, without a checkpoint.
        detach: train in a process of its own.
        options: of Slurm jobs, one for each probe; None: train here.
        as_json: print JSON.

    Returns:
        The exit code: 0, or 130 when one of the probes was stopped.
    """
    if encoder.which:
        raise ConfigError(
            f"--each-checkpoint probes all checkpoints of a run, and {encoder.text} names one; "
            f"give {encoder.folder.id} alone."
        )
    folder = encoder.folder
    every = checkpoints_of(folder)
    there = _probed(settings, new, folder)
    wanted = [which for which, step in every.items() if step not in there]
    if len(wanted) < len(every):
        say(f"{len(every) - len(wanted)} of {len(every)} checkpoints have this probe already")
    runs = [replace(new, checkpoint=which) for which in wanted]
    if options is not None and runs:
        return submit_new(settings, *runs, options=options, as_json=as_json)
    if detach and runs:
        return _detached(settings, runs, as_json=as_json)
    for run in runs:
        outcome = _train(settings, run)
        if outcome != "finished":
            return 130
    record = folder.record()
    curves = curves_of(History(settings.root, read_only=settings.read_only).list(), record)
    if as_json:
        print_json({"id": folder.id, "curves": curve_facts(curves)})
    elif curves:
        head, rows = epoch_rows(curves)
        print_text(table(head, rows, range(len(head))))
    return 0


def checkpoints_of(folder: RunFolder) -> dict[str, int]:
    """Every encoder of a run that can be probed: its checkpoint, and the steps behind it.

    Where several checkpoints are of one step, the first counts: an epoch, then the best.

    Raises:
        RunError: when the run is no pretraining, or has no checkpoint.
    """
    record = folder.record()
    if record.kind != "pretrain":
        raise RunError(f"Run {record.id} is a {record.kind}; a probe needs a pretraining.")
    if record.checkpoint_step is None:
        raise RunError(f"Run {record.id} has no checkpoint yet; there is nothing to probe.")
    found: dict[int, str] = {}
    for one in kept_checkpoints(folder.path):
        found.setdefault(one.epoch * record.steps_per_epoch, one.name)
    # Unnamed where it is the last: so it counts as any other probe of the run.
    found[record.checkpoint_step] = ""
    return {which: step for step, which in sorted(found.items())}


def _probed(settings: Settings, new: NewRun, folder: RunFolder) -> set[int]:
    """Steps of the encoders of a run that have a finished probe of these settings."""
    key = row_key(plain(new.config), "moco")
    entries = History(settings.root, read_only=settings.read_only).list()
    return {
        step
        for entry in entries
        if entry.kind == "probe" and entry.parent == folder.id and entry.status == "finished"
        if probe_keys(entry)[0][1] == key and (step := encoder_step(entry)) is not None
    }


def _train(settings: Settings, run: NewRun) -> str:
    """Checks, makes and trains one probe here; its outcome, ``stopped`` also before it began."""
    with terminal_sink(run.kind, hands_over=True) as sink:
        try:
            prepared = prepare(settings, run, sink)
        except Interrupted:
            say("interrupted")
            return "stopped"
        folder = make_folder(settings, run)
        with taken_back_unless_begun(folder):
            say(f"run {folder.id} probes checkpoint {run.checkpoint or 'last'} of {run.parent}")
            outcome = train_here(folder, settings.data, sink, prepared)
    say_outcome(outcome, folder.id)
    return outcome


def _detached(settings: Settings, runs: list[NewRun], *, as_json: bool) -> int:
    """Makes all probes, and has one process compute them in turn."""
    with terminal_sink("probe", hands_over=True) as sink:
        try:
            prepare(settings, runs[0], sink)
        except Interrupted:
            say("interrupted")
            return 130
    with ExitStack() as unbegun:
        folders = [make_folder(settings, run) for run in runs]
        for folder in folders:
            unbegun.enter_context(taken_back_unless_begun(folder))
        return start_all_detached(folders, settings.data, as_json=as_json)
