"""What the command ``study`` prints on stdout: its report, as text or in a format for programs."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import click

from engine.config.schema import StudyConfig
from engine.errors import UserError
from engine.history.history import History
from engine.runs import RunFolder
from engine.runs.data_identity import last_identity
from engine.runs.ownership import owned, users_of
from engine.study.formats import CSV_PARTS, CsvPart, to_csv, to_json, to_markdown
from engine.study.report import Report, report
from engine.study.study_state import state_from_entries
from engine.study.table import Pivot
from moco_tui.cli.options import Settings, option_group
from moco_tui.cli.outcome import say_outcome
from moco_tui.cli.output import print_text, terminal_width
from moco_tui.cli.study_report import report_text


@dataclass(frozen=True)
class ReportFormat:
    """In which format a report is printed; text where none is asked for.

    Attributes:
        as_json: everything, as JSON.
        csv_part: a part of it, as CSV; None: no CSV.
        markdown: the text as Markdown.
    """

    as_json: bool = False
    csv_part: CsvPart | None = None
    markdown: bool = False

    def check(self, *, detach: bool, dry_run: bool) -> None:
        """Refuses formats that exclude each other or that there is no report for.

        Raises:
            UserError: one sentence on what to leave out.
        """
        if self.as_json + self.markdown + (self.csv_part is not None) > 1:
            raise UserError("--json, --csv and --markdown are three formats; give one of them.")
        for flag, given in (("--detach", detach), ("--dry-run", dry_run)):
            if given and (self.markdown or self.csv_part is not None):
                raise UserError(f"{flag} prints no table; of the formats it takes --json alone.")

    def print(self, now: Report, pivot: Pivot | None = None, *, run: str = "") -> None:
        """Prints a report on stdout.

        Args:
            now: the report.
            pivot: how to arrange the tables of the text and of the Markdown.
            run: id of the study that was computed, for the JSON.
        """
        if self.as_json:
            sys.stdout.write(to_json(now, run=run))
        elif self.csv_part is not None:
            sys.stdout.write(to_csv(now, self.csv_part))
        elif self.markdown:
            sys.stdout.write(to_markdown(now, pivot))
        else:
            print_text(report_text(now, width=terminal_width(), pivot=pivot))


REPORT_FORMAT = option_group(
    "format_",
    ReportFormat,
    click.option("--json", "as_json", is_flag=True, help="Print everything as JSON."),
    click.option(
        "--csv",
        "csv_part",
        type=click.Choice(CSV_PARTS),
        # An option whose value may be left out, as click spells it: --csv alone means the cells.
        is_flag=False,
        flag_value="cells",
        help="Print CSV: a line for each cell; or of another part, as in --csv=comparisons. "
        "crossings: up to which share of the labels an encoder beats training from scratch; pairs: "
        "both on the same labels, by pretraining and subset seed.",
    ),
    click.option("--markdown", is_flag=True, help="Print Markdown."),
)


def report_now(settings: Settings, config: StudyConfig, folder: RunFolder) -> Report:
    """What the runs in the index say of a study now: those of the data that it has seen last."""
    history = History(settings.root, read_only=settings.read_only)
    data = last_identity(folder.record().data)
    entries = owned(history.list(), settings.root, users_of(folder.path))  # as it was computed
    return report(config, state_from_entries(config, entries, data))


def print_study_outcome(
    settings: Settings,
    config: StudyConfig,
    folder: RunFolder,
    outcome: str,
    format_: ReportFormat,
    pivot: Pivot | None = None,
) -> int:
    """Prints the report after the study has ended in this process.

    Returns:
        The exit code: 0, or 130 for a study that was stopped.
    """
    if outcome != "handed-over":  # the study goes on, and its table would be incomplete
        format_.print(report_now(settings, config, folder), pivot, run=folder.id)
    return say_outcome(outcome, folder.id)
