"""What a study says and asks before it begins."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from engine.config.device_list import parse_devices
from engine.config.phrases import plural
from engine.config.schema import StudyConfig
from engine.config.variants import expand
from engine.errors import ConfigError, UserError
from engine.runs import RunFolder
from engine.study.failures import failures
from engine.study.retry import retry_failed
from engine.study.study_state import StudyState
from engine.study.workers import set_workers
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, say
from moco_tui.cli.study_report import config_of_study
from moco_tui.present.study_form import MANY_CELLS


def say_merged(config: StudyConfig) -> None:
    """Says which variants are one, since they have the same settings."""
    for sentence in expand(config).merged:
        say(clean(sentence))


def confirm_many(cells: int, *, yes: bool) -> None:
    """Asks whether a very large study is meant.

    Args:
        cells: of the study.
        yes: it was said beforehand.

    Raises:
        UserError: it is not, or there is nobody to ask.
    """
    if cells < MANY_CELLS or yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(
            f"The study has {cells:,} cells; --dry-run says how long they take, and --yes begins "
            "it."
        )
    if not click.confirm(f"The study has {cells:,} cells. Begin it?", err=True):
        raise UserError("The study was not begun.")


_MOST_WORKERS = 1024


def with_workers(config: StudyConfig, workers: int | None) -> StudyConfig:
    """The study with a number of workers; None leaves its own.

    Raises:
        ConfigError: when it is none.
    """
    if workers is None:
        return config
    if not 1 <= workers <= _MOST_WORKERS:
        raise ConfigError(
            f"--workers is {workers}; it must be at least 1 and at most {_MOST_WORKERS:,}.",
            "workers",
        )
    return replace(config, workers=workers)


def refuse_both(devices: str | None, workers: int | None) -> None:
    """Refuses two options that say the same.

    Raises:
        UserError: when both were given.
    """
    if devices is not None and workers is not None:
        raise UserError(
            f"--devices {devices} and --workers {workers} both say how many processes share the "
            "study; give one of them."
        )


def with_devices(config: StudyConfig, text: str | None, settings: Settings) -> StudyConfig:
    """The study with a worker on each of some devices; None leaves its own.

    Args:
        config: the study.
        text: the list, see ``parse_devices``.
        settings: of the command, which may name one device for all.

    Raises:
        ConfigError: when the list is wrong.
        UserError: when something else says where the study is computed, too.
    """
    if text is None:
        return config
    found = parse_devices(text)
    if settings.device is not None:
        raise UserError(
            f"--devices {text} and --device {settings.device} both say where the study is "
            "computed; give one of them."
        )
    return replace(config, devices=found, workers=1)


def change_workers(study: RunFolder, config: StudyConfig) -> None:
    """Gives a study that was begun the workers, or the devices, that are wanted now.

    Raises:
        ConfigError: when this machine has no room for so many, or not those devices.
        RunError: when it cannot be recorded.
    """
    begun = config_of_study(study.record())
    if (begun.workers, begun.devices) == (config.workers, config.devices):
        return
    from engine.jobs.study_shares import shares_of  # imports torch

    shares_of(config)
    set_workers(study, config.workers, config.devices)


def take_up_failed(study_state: StudyState, root: Path, *, retry: bool) -> None:
    """Says what has failed; makes it something to go on with where that is wanted.

    Args:
        study_state: of the study.
        root: folder of the run folders.
        retry: whether it is.

    Raises:
        RunError: when a run cannot be written.
    """
    failed = failures(study_state)
    if not failed:
        return
    if retry:
        say(f"taking up again what failed: {plural(retry_failed(study_state, root), 'run')}")
        return
    cells = sum(one.cells for one in failed)
    say(
        f"{plural(len(failed), 'run')} failed and {'is' if len(failed) == 1 else 'are'} left alone "
        f"({plural(cells, 'cell')}); --retry-failed takes {'it' if len(failed) == 1 else 'them'} up"
    )
