"""Which metrics of a run are drawn as curves, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence

from engine.runs import MetricLog
from moco_tui.present import fmt

MARKS = "●■▲◆○□△◇"
ASCII_MARKS = "ABCDEFGH"
"""What tells curves apart beside their colour."""

TITLES = {
    "knn/top1": "kNN top-1, withheld labels",
    "knn/test_top1": "kNN top-1, test set (reference only)",
    "probe/test_top1": "probe top-1, test set",
}


def losses(log: MetricLog) -> list[str]:
    """The loss of a pretraining; else, at most as many as can be told apart, every loss."""
    names = log.names()
    if "train/loss" in names:
        return ["train/loss"]
    return [name for name in names if name.rpartition("/")[2] == "loss"][: len(MARKS)]


def accuracies(log: MetricLog) -> list[str]:
    """Every accuracy."""
    return [name for name in log.names() if "top1" in name or "accuracy" in name]


def loss_title(names: Sequence[str]) -> str:
    """The title over these losses."""
    return "loss" if list(names) == ["train/loss"] else "losses"


def accuracy_title(names: Sequence[str]) -> str:
    """The title over these accuracies."""
    return title(names[0]) if len(names) == 1 else "accuracy"


def title(name: str) -> str:
    """What to call a curve."""
    return TITLES.get(name, fmt.clean(name))
