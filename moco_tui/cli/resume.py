"""The command that goes on with a run from its last checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.errors import RunBusyError, RunError
from engine.jobs.recorded_config import runnable_config
from engine.machine.rank_place import several_ranks
from engine.runs import RunFolder, described
from moco_tui.cli.options import ALLOW_CODE, DETACH, OUTCOME_JSON, RUN, Settings, shared_options
from moco_tui.cli.outcome import print_outcome
from moco_tui.cli.output import clean, say
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.ranks import RANKS, RankOptions, over_ranks
from moco_tui.cli.run_here import check_own_code, start_detached, train_here
from moco_tui.cli.run_request import ask
from moco_tui.cli.study_output import ReportFormat, print_study_outcome
from moco_tui.cli.study_settings import begun_study

if TYPE_CHECKING:
    from engine.runtime.process_group import Ranks

_SECONDS = 15.0  # that the answer of a paused study is waited for


@click.command()
@RUN
@DETACH
@RANKS
@OUTCOME_JSON
@ALLOW_CODE
@click.option(
    "--allow-other-data",
    is_flag=True,
    help="Go on also with images or labels that have changed; the record says so.",
)
@shared_options
@click.pass_obj
def resume(
    settings: Settings,
    run: str,
    detach: bool,
    ranks: RankOptions,
    as_json: bool,
    allow_other_data: bool,
) -> int:
    """Go on with a run that was stopped, failed or lost, from its last checkpoint.

    A pretraining goes on with any number of ranks: see moco-tui pretrain.
    """
    settings.writable()
    folder = settings.find(run)

    def work(joined: Ranks | None) -> int:
        return _go_on(
            settings,
            folder,
            detach=detach,
            as_json=as_json,
            allow_other_data=allow_other_data,
            ranks=joined,
            devices=ranks.typed,
        )

    if not (ranks.given or several_ranks()):
        return work(None)
    return over_ranks(settings, ranks, runnable_config(folder), work, detach=detach)


def _go_on(
    settings: Settings,
    folder: RunFolder,
    *,
    detach: bool,
    as_json: bool,
    allow_other_data: bool,
    ranks: Ranks | None,
    devices: str,
) -> int:
    """Goes on with a run, in this process or one of its own."""
    kind = folder.record().kind
    if kind == "study" and folder.status() == "paused":
        ask(folder, "continue", _SECONDS)
        say(f"{clean(described(folder))} goes on, with all of its workers")
        return 0
    check_resumable(folder)
    config = begun_study(folder) if kind == "study" else None
    if config is not None:  # else code that cannot be imported would fail each of its runs
        check_own_code(config)
    if detach:
        return start_detached(
            folder,
            settings.data,
            as_json=as_json,
            allow_other_data=allow_other_data,
            devices=devices,
        )
    say(f"going on with {clean(described(folder))}")
    alone = ranks is None
    with terminal_sink(kind, hands_over=alone) as sink:
        outcome = train_here(
            folder, settings.data, sink, allow_other_data=allow_other_data, alone=alone
        )
    if config is None:
        return print_outcome(folder, outcome, as_json=as_json)
    return print_study_outcome(settings, config, folder, outcome, ReportFormat(as_json=as_json))


def check_resumable(folder: RunFolder) -> None:
    """Refuses a run that is finished or alive.

    Raises:
        RunError: with the reason.
    """
    record = folder.record()
    if folder.alive():
        if record.status == "queued":
            raise RunBusyError(
                f"Run {record.id} waits for its turn in another process; there is nothing to "
                "resume."
            )
        raise RunBusyError(
            f"Run {record.id} is being trained by process {record.pid} on {record.host}; "
            "there is nothing to resume."
        )
    if record.origin:
        raise RunError(
            f"Run {record.id} was imported and is not trained here; there is nothing to resume."
        )
    if record.status == "finished":
        raise RunError(f"Run {record.id} is finished; there is nothing to resume.")
