"""The demo: the main job on the embedded images, in the app or with plain bars."""

from __future__ import annotations

import sys
import time

import click

from engine.config import PretrainConfig, ProbeConfig
from engine.presets import build, preset
from engine.runs import create
from moco_tui.cli.common import Settings, print_json, say, shared_options

PROBE = {"task.name": "ten", "label_fraction": 0.1, "head": "logistic"}


@click.command()
@click.option("--no-app", is_flag=True, help="Plain progress bars even in a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@shared_options
@click.pass_obj
def demo(settings: Settings, no_app: bool, as_json: bool) -> int:
    """Pretrain on the embedded images, probe with 10 % of the labels, print the table.

    Opens the app on it where there is a terminal. Takes a few minutes on two CPU cores.
    """
    settings.writable()
    in_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if in_terminal and not no_app and not as_json:
        from moco_tui.app import run

        return run(
            settings.root,
            data_dir=settings.data,
            device=settings.device,
            read_only=False,
            demo=True,
        )
    return plain(settings, as_json=as_json)


def plain(settings: Settings, *, as_json: bool) -> int:
    """Pretrain, probe, table: on stderr the progress, on stdout the table."""
    from engine.execute import execute
    from moco_tui.cli.progress import say_outcome, terminal
    from moco_tui.cli.train import result_table

    began = time.monotonic()
    device = {"runtime.device": settings.device} if settings.device else {}
    pretraining = create(
        settings.root,
        "pretrain",
        build(PretrainConfig, {**preset("quick").values, **device}),
        name="demo",
        preset="quick",
    )
    say(f"run {pretraining.id} in {pretraining.path}")
    with terminal("pretrain") as sink:
        outcome = execute(pretraining, data_dir=settings.data, sink=sink)
    if outcome == "stopped":
        say_outcome(outcome, pretraining.id, resumable=True)
        return 130
    probe = create(
        settings.root,
        "probe",
        build(ProbeConfig, {**PROBE, **device}),
        name="demo probe",
        parent=pretraining.id,
    )
    say(f"run {probe.id} in {probe.path}")
    with terminal("probe") as sink:
        outcome = execute(probe, data_dir=settings.data, sink=sink)
    if outcome == "stopped":
        say_outcome(outcome, probe.id, resumable=True)
        return 130
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
