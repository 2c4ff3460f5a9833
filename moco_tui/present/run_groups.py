"""Pretrainings that differ by their seed alone as one line, with the mean and its uncertainty."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine.config.pretraining_key import key_text, without_unused
from engine.history.entry import Entry, config_base
from engine.history.shown import state_rank
from moco_tui.present.run_order import Fold
from moco_tui.present.run_rows import RunRow

if TYPE_CHECKING:  # the first screen does not wait for the statistics of studies
    from engine.study.intervals import Estimate

SEED = "runtime.seed"
_OF_NO_ACCOUNT = ("log.", "runtime.device", "runtime.threads", "runtime.capture", SEED)
"""Prefixes of settings that change neither what a run learns nor how that is measured."""
_SEED_WORDS = re.compile(r"[\s,;:·_-]*(seeds?)?[\s,;:·_-]*$")


class SeedGroup(Fold):
    """A line that stands for pretrainings of the same settings with other seeds.

    What it shows of numbers is their mean over the runs that have them.

    Attributes:
        label: what the runs are called, and how many there are.
        accuracy: of their best accuracies; None while there is none.
    """

    label: str = ""
    accuracy: Estimate | None = None


def with_groups(
    ordered: Sequence[RunRow], unfolded: Container[str] | None
) -> tuple[list[RunRow], dict[str, str]]:
    """The rows with a line in front of the first of those that differ by their seed alone.

    Args:
        ordered: the runs.
        unfolded: ids of the lines whose runs are shown; None: of all.

    Returns:
        The rows, and the id of its line for each run that stands under one.
    """
    found: dict[str, list[RunRow]] = {}
    for row in ordered:
        if row.kind == "pretrain" and not row.entry.imported:
            found.setdefault(f"{row.above} {settings_key(row.entry)}", []).append(row)
    lines: dict[str, SeedGroup] = {}
    for rows in found.values():
        if len({row.entry.setting(SEED) for row in rows}) > 1:
            line = group_of(rows, unfolded)
            lines |= dict.fromkeys((row.id for row in rows), line)
    out: list[RunRow] = []
    placed: set[str] = set()
    for row in ordered:
        group = lines.get(row.id)
        if group is not None and group.id not in placed:
            placed.add(group.id)
            out.append(group)
        out.append(row)
    return out, {id_: line.id for id_, line in lines.items()}


def settings_key(entry: Entry) -> str:
    """A text that is equal for pretrainings that differ by their seed alone."""
    settings = _settings_key(entry.kind, entry.preset, msgspec.json.encode(entry.config))
    return f"{entry.began_from} {entry.train_digest} {settings}"


@functools.lru_cache(maxsize=20_000)
def _settings_key(kind: str, preset: str, encoded: bytes) -> str:
    flat = {**config_base(kind, preset), **msgspec.json.decode(encoded)}
    kept = {key: value for key, value in flat.items() if not key.startswith(_OF_NO_ACCOUNT)}
    return key_text(without_unused(kept))


def group_of(rows: Sequence[RunRow], unfolded: Container[str] | None) -> SeedGroup:
    """The line over runs that differ by their seed alone.

    Args:
        rows: at least one.
        unfolded: ids of the lines whose runs are shown; None: of all.
    """
    from engine.study.intervals import estimate

    first = min(rows, key=lambda row: (row.entry.place, row.id))  # its id stays when others come
    id_ = f"{first.id}/seeds"
    is_open = unfolded is None or id_ in unfolded
    known = _numbers(row.best for row in rows)
    found = estimate(known)
    called = common_title([row.title for row in rows])
    return SeedGroup(
        id=id_,
        entry=first.entry,
        kind=first.kind,
        name=f"{'▾' if is_open else '▸'} {called} x{len(rows)} {spread_text(found)}".rstrip(),
        label=f"{called}, {len(rows)} seeds",
        status=min((row.status for row in rows), key=state_rank),
        preset=first.preset,
        source=first.source,
        data=first.data,
        queue=first.queue,
        augment=first.augment,
        last=_mean(_numbers(row.last for row in rows)),
        top1=_mean(_numbers(row.top1 for row in rows)),
        best=found.mean if found is not None else None,
        gain=_mean(_numbers(row.gain for row in rows)),
        share=_mean(_numbers(row.share for row in rows)),
        size=None if any(row.size is None for row in rows) else sum(row.size or 0 for row in rows),
        created=max(row.created for row in rows),
        tags=tuple(tag for tag in first.tags if all(tag in row.tags for row in rows)),
        study=first.study,
        count=len(rows),
        open=is_open,
        folds=id_,
        what="runs",
        runs=tuple(rows),
        accuracy=found,
    )


def spread_text(found: Estimate | None) -> str:
    """The uncertainty of a mean: half an interval, or the width of a range in brackets."""
    if found is None or found.low is None or found.high is None:
        return ""
    if found.kind == "interval":
        return f"±{(found.high - found.low) / 2:.1f}"
    return f"[{found.high - found.low:.1f}]"


def common_title(titles: Sequence[str]) -> str:
    """What titles begin with, without what announces a seed; the first where that is nothing."""
    first, last = min(titles), max(titles)
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return _SEED_WORDS.sub("", "".join(one for one, _ in pairs)) or titles[0]


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def group_with(run_id: str, lines: Iterable[RunRow]) -> SeedGroup | None:
    """The line that stands for a run among others; None where there is none."""
    for line in lines:
        if isinstance(line, SeedGroup) and any(row.id == run_id for row in line.runs):
            return line
    return None
