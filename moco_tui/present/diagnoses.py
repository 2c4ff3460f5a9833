"""What the curves of a pretraining mean: faults by name, the most important first."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from engine.config.metrics import MEASURES
from engine.config.queue_fill import steps_to_fill
from engine.runs import MetricLog, Record
from moco_tui.present import fmt
from moco_tui.present.encoder_diagnoses import at_chance, collapse, dead_dimensions
from moco_tui.present.knn_diagnoses import below_untrained, past_its_best
from moco_tui.present.queue_diagnoses import old_queue, queue_filling
from moco_tui.present.run_evidence import KNN, Evidence, Said
from moco_tui.present.shortcut_diagnosis import shortcut

DIAGNOSES: Mapping[str, Callable[[Evidence], Said | None]] = {
    "at-chance": at_chance,
    "collapse": collapse,
    "shortcut": shortcut,
    "dead-dimensions": dead_dimensions,
    "old-queue": old_queue,
    "below-untrained": below_untrained,
    "past-its-best": past_its_best,
    "queue-filling": queue_filling,
}
"""By name, which stays the same; the most important first: what comes first often explains the
others."""
NO_FAULT = frozenset({"queue-filling"})
"""Those of them that say what is going on and warn of nothing."""


class Finding(NamedTuple):
    """A diagnosis that holds now.

    Attributes:
        name: in ``DIAGNOSES``.
        seen: what is seen, with the numbers.
        advice: what usually causes it, and which setting to change.
    """

    name: str
    seen: str
    advice: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.seen} {self.advice}"


def diagnose(log: MetricLog, record: Record) -> list[Finding]:
    """What holds of a pretraining now, the most important first; empty for other kinds of runs.

    Nothing is remembered: what no longer holds is not found again.

    Args:
        log: read as far as it goes.
        record: the run.
    """
    if record.kind != "pretrain" or record.origin:
        return []
    evidence = Evidence(log, record)
    found = ((name, judge(evidence)) for name, judge in DIAGNOSES.items())
    return [Finding(name, *said) for name, said in found if said is not None]


def evidence_stamp(log: MetricLog, record: Record) -> tuple[object, ...]:
    """Changes whenever ``diagnose`` may find something else, and not with every step."""
    # A queue that fills changes its numbers with each step; one that is full changes nothing.
    parts: list[object] = [record.id, record.status, min(record.step, steps_to_fill(record.config))]
    for name in (KNN, "train/epoch_loss", *MEASURES):
        steps, _ = log.series(name)
        parts += [len(steps), steps[-1] if steps else -1, log.last(name)]
    return tuple(parts)


def short_lines(findings: Sequence[Finding], width: int, most: int = 2) -> list[str]:
    """The most important findings in a few lines: one in full, of several what is seen.

    Args:
        findings: the most important first.
        width: cells of a line.
        most: lines, at least 1; what does not fit into one is cut, and an ellipsis says so. Of
            more findings the last line says how many there are, and the key of the panel.
    """
    if len(findings) == 1:
        return wrapped(findings[0].text, width, most)
    lines = [line for finding in findings[:most] for line in wrapped(finding.seen, width, 1)]
    if len(findings) > most:
        more = f" (+{len(findings) - most}: 6)"
        lines[-1] = wrapped(findings[most - 1].seen, width - len(more), 1)[0] + more
    return lines


def wrapped(text: str, width: int, most: int | None = None) -> list[str]:
    """A text in lines of so many cells, cut with an ellipsis where there are more than ``most``."""
    return textwrap.wrap(fmt.clean(text), max(width, 2), max_lines=most, placeholder="…")
