"""Which runs belong to a study: those that it made, and those of others that it uses."""

from __future__ import annotations

import statistics
from collections.abc import Container, Iterable
from typing import Any

from msgspec import Struct

from engine.config.schema import StudyConfig
from engine.history.entry import Entry
from engine.study.grid import Cell, name_of, variants
from engine.study.study_state import StudyData, StudyState, state_from_entries


class Best(Struct, frozen=True):
    """The variant that is ahead.

    Attributes:
        label: of the variant.
        top1: mean of its results in percent, over the cells that every variant with a result has.
        cells: how many those are.
    """

    label: str
    top1: float
    cells: int


class Belonging(Struct, frozen=True):
    """The runs of a study, and how far it is.

    Attributes:
        made: ids of the pretrainings and probes that the study made.
        used: ids of runs that others made and the study counts.
        renamed: ids of those that it made and a person gave another name.
        done, total: its cells.
        best: None while fewer than two variants can be compared.
    """

    made: frozenset[str]
    used: frozenset[str]
    done: int
    total: int
    best: Best | None
    renamed: frozenset[str] = frozenset()


def belonging(
    study: Entry,
    config: StudyConfig,
    entries: Iterable[Entry],
    data: StudyData = None,
    *,
    own: Container[str] = (),
) -> Belonging:
    """The runs that belong to a study.

    One that was made by hand, or by another study, fills a cell as well. A run counts as made by
    the study when it names it and is of the same user. One of an earlier version names none: then
    a pretraining counts when it was created after the study by the same user, of no preset, under
    the name that the study gives; a probe when its name ends in that of its pretraining.

    Args:
        study: of its run.
        config: its configuration.
        entries: all runs, or those that ``candidates`` finds for it.
        data: see ``state_from_entries``.
        own: ids of the runs of the study's user.
    """
    entries = list(entries)
    state = state_from_entries(config, entries, data, first=own)
    by_id = {entry.id: entry for entry in entries}
    labels = {variant.label: variant for variant in variants(config)}
    names = {
        one.run: name_of(labels[label], seed)
        for (label, seed), one in state.pretrainings.items()
        if one.run
    }
    results = {cell.run for cell in state.cells.values() if cell.run} - names.keys()
    runs = [by_id[id_] for id_ in [*names, *sorted(results)] if id_ in by_id]
    made, renamed = set(), set()
    for entry in runs:
        name = names.get(entry.id)
        if name is not None:
            is_named = entry.name == name
        else:
            is_named = entry.name.endswith(f"; {names.get(entry.parent, '-')}")
        if entry.study:
            is_made = entry.study == study.id and entry.id in own
        else:
            is_made = is_named and _is_by(study, entry, own)
        if is_made:
            made.add(entry.id)
            renamed |= set() if is_named else {entry.id}
    return Belonging(
        made=frozenset(made),
        used=frozenset(entry.id for entry in runs) - made,
        renamed=frozenset(renamed),
        done=state.done,
        total=len(state.cells),
        best=best_of(config, state),
    )


def _is_by(study: Entry, entry: Entry, own: Container[str]) -> bool:
    return not entry.preset and entry.created >= study.created and entry.id in own


def best_of(config: StudyConfig, state: StudyState) -> Best | None:
    """The variant with the highest mean accuracy; None while fewer than two can be compared."""
    found: dict[str, dict[tuple[Any, ...], float]] = {}
    for cell, result in state.cells.items():
        if cell.source == "moco" and cell.variant is not None and result.top1 is not None:
            found.setdefault(cell.variant, {})[_at(cell)] = result.top1
    if len(found) < 2:
        return None
    shared = set.intersection(*(set(values) for values in found.values()))
    if not shared:
        return None
    means = {label: statistics.fmean(v[at] for at in shared) for label, v in found.items()}
    # Of equal ones the first in the order of the study.
    order = [variant.label for variant in variants(config)]
    label = max(means, key=lambda name: (means[name], -order.index(name)))
    return Best(label, means[label], len(shared))


def _at(cell: Cell) -> tuple[Any, ...]:
    return cell.seed, cell.task, cell.fraction, cell.head, cell.subset_seed
