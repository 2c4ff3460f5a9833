"""The demo: the main job on the embedded images, in the app or with plain bars."""

from __future__ import annotations

import sys
import time

import click

from moco_tui.cli.options import OUTCOME_JSON, Settings, shared_options
from moco_tui.cli.output import print_json, say


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
    from engine.jobs.execute import execute  # imports torch, which the demo in the app puts off
    from moco_tui.cli.outcome import result_table, say_outcome
    from moco_tui.cli.progress import terminal_sink
    from moco_tui.training.demo_runs import create_demo

    began = time.monotonic()
    runs = create_demo(settings.root, device=settings.device)
    for folder, kind in zip(runs, ("pretrain", "probe"), strict=True):
        say(f"run {folder.id} in {folder.path}")
        with terminal_sink(kind) as sink:
            outcome = execute(folder, data_dir=settings.data, sink=sink)
        if outcome != "finished":
            say_outcome(outcome, folder.id)
            return 130
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
        print(result_table(result))
    say(f"done in {time.monotonic() - began:.0f} s")
    return 0
