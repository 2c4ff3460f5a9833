"""The command that runs a whole study, goes on with it, and prints its table."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import click

from engine.config.schema import StudyConfig
from engine.errors import TrainingError, UserError
from engine.history.history import History
from engine.runs import RunFolder
from engine.runs.data_identity import last_identity
from engine.runs.ownership import owned, users_of
from engine.runs.unstarted import taken_back_unless_begun
from engine.sink import Interrupted
from engine.study.report import report
from engine.study.study_state import state_from_entries
from engine.study.table import Pivot
from moco_tui.cli.config_options import CONFIG_SOURCE, ConfigSource
from moco_tui.cli.options import (
    ALLOW_CODE,
    DETACH,
    NAME,
    Settings,
    run_argument,
    shared_options,
)
from moco_tui.cli.output import say, say_notices
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.run_here import (
    NewRun,
    check_own_code,
    make_folder,
    prepare,
    start_detached,
    train_here,
)
from moco_tui.cli.study_axes import AXES, AxisOptions
from moco_tui.cli.study_begin import (
    change_workers,
    confirm_many,
    refuse_both,
    say_merged,
    take_up_failed,
    with_devices,
    with_workers,
)
from moco_tui.cli.study_join import is_computed, join
from moco_tui.cli.study_layout import TABLE_LAYOUT, TableLayout
from moco_tui.cli.study_output import (
    REPORT_FORMAT,
    ReportFormat,
    print_study_outcome,
    report_now,
)
from moco_tui.cli.study_plan import print_plan
from moco_tui.cli.study_report import config_of_study
from moco_tui.cli.study_settings import (
    begun_study,
    configure,
    present_data,
    recorded_data,
    unfinished_study,
)
from moco_tui.cli.study_submit import submit_study
from moco_tui.cli.submit_options import SUBMIT, wanted
from moco_tui.present.study_form import MANY_CELLS


@click.command()
@run_argument(required=False, latest="the newest study")
@CONFIG_SOURCE
@AXES
@NAME
@DETACH
@SUBMIT
@click.option("--dry-run", is_flag=True, help="Print what is left to do, its time and disk.")
@click.option("--yes", is_flag=True, help=f"Begin a study of {MANY_CELLS:,} cells or more.")
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Processes that share the work: of the cores, or each with a card. [default: 1]",
)
@click.option(
    "--devices",
    metavar="LIST",
    help="A process on each device: all, or cuda:0,cuda:2, or cpu:2 for two on the CPU.",
)
@click.option(
    "--retry-failed", is_flag=True, help="Also take up the runs that failed, from where they were."
)
@click.option("--show", is_flag=True, help="Compute nothing; print what is done so far.")
@TABLE_LAYOUT
@REPORT_FORMAT
@ALLOW_CODE
@shared_options
@click.pass_obj
def study(
    settings: Settings,
    run: str | None,
    source: ConfigSource,
    varied: AxisOptions,
    name: str,
    detach: bool,
    submit: str | None,
    dry_run: bool,
    yes: bool,
    workers: int | None,
    devices: str | None,
    retry_failed: bool,
    show: bool,
    layout: TableLayout,
    format_: ReportFormat,
) -> int:
    """Run a whole experiment: variants of a pretraining, several seeds, probes; one table.

    It varies the queue size, or what --axis and --ablate name; then all else is that of its
    settings, and a setting's own value is the reference (of a grid that has it not, the first).

    What the history has already is not computed again, so the same command goes on after an
    interruption, and once everything is done it only prints. Runs that failed are left alone.
    While another process computes the study, the command joins in. Runs of other users are shown,
    and not taken up. RUN takes the settings from a study that was begun.
    """
    refuse_both(devices, workers)
    processes = {"--workers": workers is not None, "--devices": devices is not None}
    asked = wanted(submit, source.sets, {"--detach": detach, **processes})
    source = replace(source, sets=asked.sets)
    config = with_workers(_config(settings, run, source, varied), workers)
    config = with_devices(config, devices, settings)
    pivot = layout.pivot(config)
    format_.check(detach=detach, dry_run=dry_run)
    if not (show or dry_run):
        settings.writable()
    history = History(settings.root, read_only=settings.read_only)
    # Read once: which cells are done and which study goes on are facts of the same moment.
    entries = history.list()
    say_notices(history)
    named = None if run is None else settings.find(run, latest_of="study").path
    own = owned(entries, settings.root, users_of(named))
    if not show:
        entries = own
    data = None
    if show:
        data = last_identity(recorded_data(settings, config, entries, run))
    elif state_from_entries(config, entries).done:
        data = present_data(settings, config)  # what is done counts only if it is of these images
    first = {entry.id for entry in own}
    now = report(config, state_from_entries(config, entries, data, first=first))
    if dry_run:
        return print_plan(settings, now, as_json=format_.as_json)
    cells = now.study_state.cells
    left = sum(found.state != "done" for found in cells.values())
    if not left and not show:
        say(f"everything is done: {len(cells):,} cells")
    if not left or show:
        format_.print(now, pivot)
        return 0
    say_merged(config)
    say(f"{len(cells) - left:,} of {len(cells):,} cells are done")
    take_up_failed(now.study_state, settings.root, retry=retry_failed)
    begun = unfinished_study(settings, config, entries)
    new = NewRun("study", config, name=name, preset=source.preset or "")
    if asked.options is not None:
        confirm_many(0 if begun else len(cells), yes=yes)
        as_json = format_.as_json
        return submit_study(settings, begun or new, asked.options, now.study_state, as_json=as_json)
    if begun is not None and is_computed(begun):
        as_json = format_.as_json
        outcome = join(settings, begun, config, now.study_state, detach=detach, as_json=as_json)
        return _after_joining(settings, begun, config, outcome, format_, pivot)
    if begun is None:
        confirm_many(len(cells), yes=yes)
    else:
        change_workers(begun, config)
    return _compute(settings, begun or new, config, detach, format_, pivot)


def _after_joining(
    settings: Settings,
    study: RunFolder,
    config: StudyConfig,
    outcome: str,
    format_: ReportFormat,
    pivot: Pivot,
) -> int:
    """Prints what a worker that has joined leaves behind; the exit code."""
    if outcome in ("detached", "handed-over"):
        return 0
    now = report_now(settings, config, study)
    format_.print(now, pivot, run=study.id)
    if outcome == "stopped":
        say(f"this worker is stopped; study {study.id} is {study.status()}")
        return 130
    return 1 if now.study_state.failed else 0


def _config(
    settings: Settings, run: str | None, source: ConfigSource, varied: AxisOptions
) -> StudyConfig:
    """The settings of a study that was begun, or those that the options describe."""
    if run is None:
        return configure(settings, source, varied)
    if source.given or varied.given:
        raise UserError(
            f"Study {run} has its settings; --preset, --config, --set, --data, --axis and the "
            "like are for a study that is described anew."
        )
    return begun_study(settings.find(run, latest_of="study"))


def _compute(
    settings: Settings,
    wanted: RunFolder | NewRun,
    config: StudyConfig,
    detach: bool,
    format_: ReportFormat,
    pivot: Pivot,
) -> int:
    """Computes what is left, of a new study or of one that was begun; the exit code."""
    with terminal_sink("study", hands_over=True) as sink:
        prepared = None
        if isinstance(wanted, NewRun):
            try:
                prepared = prepare(settings, wanted, sink)
            except Interrupted:  # while the images were read: there is no run yet
                say("interrupted")
                return 130
            folder = make_folder(settings, wanted)
        else:
            folder = wanted
            check_own_code(config)
        with contextlib.ExitStack() as starting:
            if folder == wanted:
                _say_going_on(settings, folder)
            else:
                starting.enter_context(taken_back_unless_begun(folder))
                say(f"study {folder.id} in {folder.path}")
            if detach:
                return start_detached(folder, settings.data, as_json=format_.as_json)
            try:
                outcome = train_here(folder, settings.data, sink, prepared)
            except TrainingError:  # some of its runs failed; the results of the others are printed
                sink.close()  # else tqdm draws its bar over the table
                format_.print(report_now(settings, config, folder), pivot, run=folder.id)
                raise
    return print_study_outcome(settings, config, folder, outcome, format_, pivot)


def _say_going_on(settings: Settings, folder: RunFolder) -> None:
    say(f"going on with study {folder.id} in {folder.path}")
    device = config_of_study(folder.record()).pretrain.runtime.device
    if settings.device not in (None, device):
        say(f"it stays on the device it was begun for: {device}")
