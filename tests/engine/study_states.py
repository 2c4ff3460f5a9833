"""Standings of studies made by hand: whatever value and state a test wants in each cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.config.presets import build
from engine.config.schema import StudyConfig
from engine.study.grid import Cell, CellResult, State, StudyState, Trained, cells, pretrainings

MAJORITY = {"binary": 60.0, "five": 20.0, "ten": 10.0}


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
    at = {pair: Trained("run234", "finished", 10, 10) for pair in pretrainings(config)}
    return StudyState(found, at)
