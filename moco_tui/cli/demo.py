"""The demo: the main job on the embedded images, in the app or with plain bars."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from engine.runs import RunFolder
from engine.runs.unstarted import taken_back_unless_begun
from engine.sink import Interrupted
from moco_tui.cli.options import OUTCOME_JSON, Settings, shared_options
from moco_tui.cli.output import print_json, say

if TYPE_CHECKING:
    from moco_tui.cli.run_here import NewRun


@click.command()
@click.option("--no-app", is_flag=True, help="Plain progress bars even in a terminal.")
@OUTCOME_JSON
@shared_options
@click.pass_obj
def demo(settings: Settings, no_app: bool, as_json: bool) -> int:
    """Pretrain on the embedded images, probe with 10 % of the labels, print the table.

    Opens the app on it where there is a terminal. Takes a few minutes on two CPU cores.
    """
    settings.writable()
    in_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if in_terminal and not no_app and not as_json and _app_can_be_drawn():
        from moco_tui.app_life import run

        return run(
            settings.root,
            data_dir=settings.data,
            device=settings.device,
            read_only=False,
            demo=True,
        )
    return plain(settings, as_json=as_json)


def _app_can_be_drawn() -> bool:
    """Whether this kind of terminal shows more than lines."""
    from moco_tui.terminal.abilities import cannot_draw  # imports Textual

    return not cannot_draw()


def plain(settings: Settings, *, as_json: bool) -> int:
    """Pretrain, probe, table: on stderr the progress, on stdout the table.

    Returns:
        The exit code: 0, or 130 when one of the runs was stopped.
    """
    from moco_tui.cli.outcome import result_table, say_outcome
    from moco_tui.cli.run_here import NewRun
    from moco_tui.training.demo_runs import demo_configs

    began = time.monotonic()
    runs: list[RunFolder] = []
    pretrain_config, probe_config = demo_configs(settings.device)
    # Each is made when its turn comes: what is refused or stopped leaves no queued run behind.
    for new in (
        NewRun("pretrain", pretrain_config, name="demo", preset="quick"),
        NewRun("probe", probe_config, name="demo probe"),
    ):
        started = _train(settings, replace(new, parent=runs[0].id if runs else ""))
        if started is None:
            return 130
        folder, outcome = started
        if outcome != "finished":
            say_outcome(outcome, folder.id)
            return 130
        runs.append(folder)
    pretraining, probe = runs
    result, knn = probe.record().result, pretraining.metrics()
    knn.poll()
    if as_json:
        _, values = knn.series("knn/top1")
        print_json(
            {
                "pretrain": pretraining.id,
                "probe": probe.id,
                "knn_top1": list(values),
                "result": result,
                "seconds": time.monotonic() - began,
            }
        )
    else:
        print(result_table(result, probe.record().config))
    say(f"done in {time.monotonic() - began:.0f} s")
    return 0


def _train(settings: Settings, new: NewRun) -> tuple[RunFolder, str] | None:
    """Checks, makes and trains one run; None when it was interrupted before there was one."""
    from engine.jobs.execute import execute  # imports torch, which the demo in the app puts off
    from moco_tui.cli.progress import terminal_sink
    from moco_tui.cli.run_here import make_folder, prepare
    from moco_tui.cli.user_notifier import notifying

    with terminal_sink(new.kind) as sink:
        try:
            prepared = prepare(settings, new, sink)
        except Interrupted:
            say("interrupted")
            return None
        folder = make_folder(settings, new)
        with taken_back_unless_begun(folder):
            say(f"run {folder.id} in {folder.path}")
            train = notifying(execute)
            return folder, train(folder, data_dir=settings.data, sink=sink, prepared=prepared)
