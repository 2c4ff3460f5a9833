"""Encoders against training from scratch as tables: their crossings and pairs, as text and CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.study.from_scratch import Crossing, Pair

CROSSINGS_TITLE = "crossings: up to which share of the labels encoders beat training from scratch"


def crossing_lines(crossed: Sequence[Crossing]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table of crossings as texts; shares in percent of the labels."""
    head = ["encoder", "task", "head", "better", "interval or range", "seeds that cross"]
    return head, [
        [
            found.variant,
            found.task,
            found.head,
            found.share_text(),
            found.span_text(),
            f"{found.crossed}/{found.seeds}",
        ]
        for found in crossed
    ]


def crossing_rows(crossed: Sequence[Crossing]) -> Iterable[Sequence[Any]]:
    """Crossings for a CSV file, the head first; shares in (0, 1], as the label fractions."""
    yield (
        *("variant", "task", "head", "where", "share", "low", "high", "kind", "crossed", "seeds"),
        *("smallest_share", "largest_share"),
    )
    for found in crossed:
        yield (
            *(found.variant, found.task, found.head, found.where),
            *(found.share, found.low, found.high, found.kind),
            *(found.crossed, found.seeds, *found.shares),
        )


def pair_rows(pairs: Sequence[Pair]) -> Iterable[Sequence[Any]]:
    """Pairs for a CSV file, the head first; percent, and their difference in points."""
    yield (
        *("variant", "seed", "subset_seed", "task", "head", "label_fraction"),
        *("top1", "from_scratch", "difference"),
    )
    for pair in pairs:
        yield (
            *(pair.variant, pair.seed, pair.subset_seed, pair.task, pair.head, pair.fraction),
            *(pair.top1, pair.scratch, pair.difference),
        )
