"""What a study says and asks before it begins."""

from __future__ import annotations

import sys

import click

from engine.config.schema import StudyConfig
from engine.config.variants import expand
from engine.errors import UserError
from moco_tui.cli.output import clean, say
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
