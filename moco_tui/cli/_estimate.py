"""The command that times a few steps of a pretraining, for the app's form."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from engine.config.resolve import resolve as resolve_config
from engine.config.schema import PretrainConfig
from engine.errors import ConfigError
from moco_tui.cli.options import Settings, shared_options
from moco_tui.cli.output import print_json
from moco_tui.training import detached


@click.command(hidden=True)
@click.option("--steps", type=int, default=4)
@shared_options
@click.pass_obj
def _estimate(settings: Settings, steps: int) -> None:
    """Times a few steps of the pretraining on stdin.

    Reads its configuration as TOML and prints what was measured as JSON.
    """
    detached.accept_signals()  # the app, which starts this, blocks them
    from engine.jobs.estimate import estimate  # imports torch

    # ``resolve`` takes the path of a TOML file, not its text.
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(sys.stdin.read())
        file.flush()
        config = resolve_config(PretrainConfig, toml=Path(file.name))
    if steps < 1:
        raise ConfigError(f"--steps is {steps}; it must be a whole number of at least 1.")
    print_json(estimate(config, data_dir=settings.data, steps=steps))
