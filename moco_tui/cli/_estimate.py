"""The command that times a few steps of a pretraining or a study, for the app's form."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from engine.config.resolve import resolve as resolve_config
from engine.config.schema import PretrainConfig, StudyConfig
from engine.errors import ConfigError
from engine.history.history import History
from engine.runs.ownership import users_of
from engine.study.study_state import state_from_history
from moco_tui.cli.options import Settings, shared_options
from moco_tui.cli.output import print_json
from moco_tui.training import detached

C = TypeVar("C", PretrainConfig, StudyConfig)


@click.command(hidden=True)
@click.option("--steps", type=int, default=4)
@click.option("--study", is_flag=True)
@shared_options
@click.pass_obj
def _estimate(settings: Settings, steps: int, study: bool) -> None:
    """Times parts of the pretraining, or of the study, on stdin.

    Reads its configuration as TOML and prints what was measured as JSON.
    """
    detached.accept_signals()  # the app, which starts this, blocks them
    if study:
        _print_plan(settings)
        return
    from engine.jobs.run_estimate import run_estimate  # imports torch

    config = _read(PretrainConfig)
    if steps < 1:
        raise ConfigError(f"--steps is {steps}; it must be a whole number of at least 1.")
    print_json(run_estimate(config, data_dir=settings.data, steps=steps))


def _read(type_: type[C]) -> C:
    # ``resolve`` takes the path of a TOML file, not its text.
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(sys.stdin.read())
        file.flush()
        return resolve_config(type_, toml=Path(file.name))


def _print_plan(settings: Settings) -> None:
    """What is left of the study, and what that costs."""
    config = _read(StudyConfig)
    history = History(settings.root, read_only=True)
    state = state_from_history(config, history, users=users_of(None))
    from engine.jobs.study_estimate import plan  # imports torch

    print_json(msgspec.to_builtins(plan(config, state, data_dir=settings.data)))
