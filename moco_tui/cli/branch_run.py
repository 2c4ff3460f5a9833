"""Going on from a checkpoint of another run, with other settings: shared by extend and fork."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.config.branch_rules import check_branch
from engine.config.fields import flatten
from engine.config.schema import PretrainConfig
from engine.config.slurm_schema import SlurmOptions
from engine.errors import ConfigError, RunError
from engine.jobs.recorded_config import runnable_config
from engine.runs.branching import How, branch_start
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.record import branch_words
from engine.runs.root import BranchStart
from engine.sink import Interrupted
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, print_json, print_text, say, table
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.run_here import NewRun, prepare, start
from moco_tui.cli.submit_options import submit_new
from moco_tui.present import fmt
from moco_tui.present.branch_text import rate_words


def run_branch(
    settings: Settings,
    source: CheckpointRef,
    how: How,
    change: Callable[[PretrainConfig], PretrainConfig],
    *,
    name: str,
    detach: bool,
    as_json: bool,
    dry_run: bool,
    job: SlurmOptions | None = None,
) -> int:
    """Begins a run that goes on from a checkpoint, or says what it would be.

    Args:
        settings: of the command.
        source: the run and its checkpoint.
        how: what the command is.
        change: gives the configuration of the new run, from that of the other.
        name: of the new run.
        detach: train in a process of its own.
        as_json: print JSON.
        dry_run: check everything and make nothing.
        job: of Slurm, which is to train it; None: it is trained here.

    Returns:
        The exit code: 0, or 130 after a signal.

    Raises:
        UserError: one sentence on what cannot be gone on from, or does not fit together.
    """
    if job is not None and dry_run:
        raise ConfigError(
            "--submit and --dry-run exclude each other: a dry run reads the images here and makes "
            "no run to submit. Give one of them."
        )
    whence = branch_start(source, how)
    old = runnable_config(source.folder)
    if not isinstance(old, PretrainConfig):  # its record was replaced meanwhile
        raise RunError(f"Run {source.folder.id} is no pretraining.")
    config = change(old)
    check_branch(
        _compared(old), _compared(config), whence.branch["epoch"], branch_words(whence.branch)
    )
    preset = source.folder.record().preset
    run = NewRun("pretrain", config, name=name, preset=preset, start=whence)
    say(rate_words(old, config, whence.branch))
    if dry_run:
        return _say_plan(settings, run, old, whence, as_json=as_json)
    if job is not None:
        return submit_new(settings, run, options=job, as_json=as_json)
    return start(settings, run, detach=detach, as_json=as_json)


def _compared(config: PretrainConfig) -> Mapping[str, Any]:
    return flatten(config)


def _say_plan(
    settings: Settings, run: NewRun, old: PretrainConfig, whence: BranchStart, *, as_json: bool
) -> int:
    """Checks everything that the run needs, and prints what it would begin with."""
    with terminal_sink(run.kind, hands_over=False) as sink:
        try:
            prepare(settings, run, sink)
        except Interrupted:
            say("interrupted")
            return 130
    before, after = flatten(old), flatten(run.config)
    changed = {key: value for key, value in after.items() if value != before[key]}
    if as_json:
        print_json(
            {
                "began_from": whence.branch,
                "epochs": after["optim.epochs"],
                "changed": {
                    key: {"value": value, "before": before[key]} for key, value in changed.items()
                },
            }
        )
        return 0
    branch = whence.branch
    print_text(
        f"would go on from {branch_words(branch)}, step {branch['step']:,}, epoch "
        f"{branch['epoch']:.4g}, to epoch {after['optim.stop_epoch'] or after['optim.epochs']}"
    )
    if changed:
        rows = [
            [key, clean(fmt.value(value)), clean(fmt.value(before[key]))]
            for key, value in changed.items()
        ]
        print_text(table(["setting", "here", "there"], rows))
    else:
        print_text("no setting differs")
    return 0
