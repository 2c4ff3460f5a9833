"""Standings of studies made by hand: whatever value and state a test wants in each cell."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.config.variants import Variant
from engine.study.comparisons import Comparison
from engine.study.grid import Cell, cells, pretrainings, variants
from engine.study.intervals import ResultRow
from engine.study.study_state import CellResult, State, StudyState, Trained

SMALL_GRID = {
    "queue_sizes": [8, 32],
    "seeds": [0, 1],
    "label_fractions": [0.1, 0.5],
    "tasks": ["binary", "ten"],
    "heads": ["linear", "logistic"],
    "subset_seeds": [0, 1, 2],
}
MAJORITY = {"binary": 60.0, "five": 20.0, "ten": 10.0}


def small_grid(**changes: object) -> StudyConfig:
    """The study ``SMALL_GRID``, with other values of some settings."""
    return build(StudyConfig, {**SMALL_GRID, **changes})


def of_size(config: StudyConfig, queue_size: int) -> Variant:
    """The variant with a queue of so many keys."""
    return next(v for v in variants(config) if v.queue_size == queue_size)


def study(**values: Any) -> StudyConfig:
    """A small study; the arguments are keys of its grid."""
    small = {
        "queue_sizes": (16, 64),
        "seeds": (0, 1, 2, 3),
        "label_fractions": (0.1, 0.5),
        "tasks": ("binary", "ten"),
        "heads": ("linear", "logistic"),
        "subset_seeds": (0, 1),
        "supervised_subsets": 2,
        "pretrain.data.source": "shapes",
    }
    return build(StudyConfig, {**small, **values})


def study_state(
    config: StudyConfig,
    value: Callable[[Cell], float],
    state: Callable[[Cell], State] = lambda cell: "done",
) -> StudyState:
    """A state of a study in which each cell has this state, and its value where it is done."""
    found: dict[Cell, CellResult] = {}
    for cell in cells(config):
        if (now := state(cell)) == "done":
            top1 = value(cell)
            found[cell] = CellResult(now, "prb234", top1, top1 - 1.0, MAJORITY.get(cell.task, 10.0))
        else:
            found[cell] = CellResult(now, "" if now == "missing" else "prb234")
    at = {
        (v.label, seed): Trained("run234", "finished", 10, 10) for v, seed in pretrainings(config)
    }
    return StudyState(found, at)


def noisy(seed: int = 0, gain: float = 0.0, spread: float = 0.5) -> Callable[[Cell], float]:
    """Values with an effect of each pretraining, noise of each cell, and a gain of K 64."""
    rng = random.Random(seed)
    base = {"moco": 60.0, "random-init": 45.0, "pixels": 35.0, "supervised": 70.0}
    effects: dict[object, float] = {}

    def value(cell: Cell) -> float:
        key = (cell.source, cell.variant, cell.seed)
        if key not in effects:
            effects[key] = rng.gauss(0.0, spread)
        more = gain if cell.queue_size == 64 else 0.0
        return base[cell.source] + 10 * cell.fraction + effects[key] + more + rng.gauss(0, 0.2)

    return value


def find(made: tuple[ResultRow, ...], **wanted: object) -> ResultRow:
    found = [r for r in made if all(getattr(r, k) == v for k, v in wanted.items())]
    assert len(found) == 1
    return found[0]


def chosen(made: tuple[Comparison, ...], **wanted: object) -> list[Comparison]:
    return [c for c in made if all(getattr(c, k) == v for k, v in wanted.items())]


def values_of(now: StudyState, **wanted: object) -> dict[tuple[int | None, int], float]:
    """Top-1 by seed and subset seed, straight from the cells."""
    return {
        (cell.seed, cell.subset_seed): found.top1
        for cell, found in now.cells.items()
        if found.top1 is not None and all(getattr(cell, k) == v for k, v in wanted.items())
    }
