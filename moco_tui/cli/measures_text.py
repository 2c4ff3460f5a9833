"""What a pretraining measured of itself, and what that means, as text and for JSON."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import RunError
from engine.runs import MetricLog, Record, RunFolder
from moco_tui.cli.output import clean, say, table, terminal_width
from moco_tui.present.diagnoses import Finding, diagnose, wrapped
from moco_tui.present.measure_rows import grouped, measure_row

_WIDTH = 100  # of lines that are not for a terminal


def read_measures(folder: RunFolder, record: Record) -> tuple[MetricLog, list[Finding]]:
    """The metric log of a run, and what it means now.

    Of a log that cannot be read there is one sentence on stderr, and nothing to mean.
    """
    log = folder.metrics()
    if record.kind == "pretrain":
        try:
            log.poll()
        except RunError as error:
            say(clean(str(error)))
    return log, diagnose(log, record)


def findings_text(findings: Sequence[Finding]) -> str:
    """Each diagnosis with its name."""
    widest = max(len(finding.name) for finding in findings)
    width = (terminal_width() or _WIDTH) - widest - 4
    lines = ["what its measures say"]
    for finding in findings:
        for number, text in enumerate(wrapped(finding.text, max(width, 20))):
            lines.append(f"  {finding.name if not number else '':<{widest}}  {text}")
    return "\n".join(lines)


def measures_table(log: MetricLog) -> str:
    """The newest value of each measure and its change, in groups; empty where there is none."""
    groups = grouped(log.names())
    rows = []
    for group, names in groups.items():
        for number, name in enumerate(names):
            row = measure_row(log, name)
            rows.append([group if not number else "", row.title, row.value, row.change])
    return table(["measures", "", "last", "change"], rows, (2, 3)) if rows else ""
