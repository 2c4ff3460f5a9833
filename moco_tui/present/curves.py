"""Which metrics of a run are drawn as curves, and what tells the curves apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.config.metrics import METRICS, headline, metric, registered
from engine.runs import MetricLog, Record
from moco_tui.present import fmt
from moco_tui.present.metric_text import title, value_text

MARKS = "●■▲◆○□△◇▼▽◀▷"
ASCII_MARKS = "ABCDEFGHIJKL"
"""What tells curves apart beside their colour."""


SHORT_NAMES = {
    "contrast/positive": "positive",
    "contrast/negative": "negative",
    "contrast/hardest": "hardest",
    "knn/top1": "kNN",
    "knn/test_top1": "kNN test",
    "online/top1": "online",
}
"""What metrics are called where several share a chart and there is little room."""
_PARTS = {
    "test_top1": "test top-1",
    "validation_top1": "validation top-1",
    "check_top1": "check top-1",
    "validation_loss": "validation loss",
    "selection_loss": "selection loss",
    "check_loss": "check loss",
}
"""What the last parts of names of a probe's metrics mean."""


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


def curve_name(name: str) -> str:
    """The name of a curve; of a probe its source and, of a trial, what it tries.

    ``probe/supervised/lr_0.1/validation_top1`` is ``supervised, lr 0.1: validation top-1``.
    """
    if metric(name).title or not name.startswith("probe/") or name.count("/") < 2:
        return title(name)
    _, source, *trials, what = name.split("/")
    tried = [trial.replace("_", " ") for trial in trials]
    return fmt.clean(f"{', '.join([source, *tried])}: {_PARTS.get(what, what.replace('_', ' '))}")


def short_name(name: str) -> str:
    """The name of a curve in a word or two."""
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    if name.startswith("probe/") and name.count("/") > 1:
        return curve_name(name).partition(":")[0]
    return curve_name(name)


def summary(log: MetricLog, names: Sequence[str]) -> str:
    """The newest value of a chart, of an accuracy with the gain over the untrained encoder.

    Of several the accuracy that stands for the run: the others are in the legend.
    """
    known = {name: last for name in names if (last := log.last(name)) is not None}
    best = headline(known, "accuracy") or (next(iter(known)) if len(known) == 1 else "")
    if not best:
        return ""
    text = value_text(best, known[best])
    steps, values = log.series(best)
    if metric(best).chart == "accuracy" and len(steps) > 1 and steps[0] == 0:
        text += f" ({known[best] - values[0]:+.1f})"
    return text if len(known) == 1 else f"{short_name(best)} {text}"


def unit_of(names: Sequence[str]) -> str:
    """What stands behind the values of a chart of these metrics."""
    units = {metric(name).unit for name in names}
    unit = units.pop() if len(units) == 1 else ""
    return f" {unit}" if unit else ""


def first_step(record: Record) -> float:
    """The step with which the curves of a run begin; minus infinity: that of their first point.

    A run that went on from another's checkpoint has of the steps before that the accuracy of an
    untrained net alone, whose line would lead through what the other one was.
    """
    return -math.inf if record.began_from is None else record.began_from["step"]
