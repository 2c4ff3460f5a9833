"""Which metrics of a run are drawn as curves, and what tells the curves apart."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.metrics import METRICS, headline, metric, registered
from engine.runs import MetricLog
from moco_tui.present.metric_text import title

MARKS = "●■▲◆○□△◇▼▽◀▷"
ASCII_MARKS = "ABCDEFGHIJKL"
"""What tells curves apart beside their colour."""


def losses(log: MetricLog) -> list[str]:
    """The metrics of the chart of losses, at most as many as can be told apart.

    Beside the loss that stands for a pretraining only registered ones are drawn: those of the
    user's own may be of any size.
    """
    names = [name for name in log.names() if metric(name).chart == "loss"]
    # ``headline`` looks at the names alone; the values are of no account.
    if headline(dict.fromkeys(names, 0.0), "loss") in METRICS:
        names = [name for name in names if registered(name)]
    return names[: len(MARKS)]


def accuracies(log: MetricLog) -> list[str]:
    """The metrics of the chart of accuracies."""
    return [name for name in log.names() if metric(name).chart == "accuracy"]


def loss_title(names: Sequence[str]) -> str:
    """The title over these losses."""
    return "loss" if len(names) == 1 and metric(names[0]).headline else "losses"


def accuracy_title(names: Sequence[str]) -> str:
    """The title over these accuracies."""
    return title(names[0]) if len(names) == 1 else "accuracy"
