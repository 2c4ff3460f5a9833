"""Which charts of a run there are to choose from, and which are drawn when nobody has chosen.

A chart is called by its key: ``loss``, ``accuracy`` and the other charts of several metrics by
their own names, that of one metric by the name of the metric, ``device:cpu`` by that of the chart
of the devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.runs import MetricLog
from moco_tui.present import fmt
from moco_tui.present.curves import SHORT_NAMES, accuracies, curve_name, losses
from moco_tui.present.device_charts import chart_titles
from moco_tui.present.ordered_choice import has_words

LOSS, ACCURACY = "loss", "accuracy"
DEVICE = "device:"
"""How the keys of charts of the devices begin."""
MOST_CHARTS = 6
"""Charts side by side: more could not be read."""
_LEAST_LOSSES = 6  # points of a loss of a probe from which on there is a curve to see


class ChartChoice(NamedTuple):
    """A chart that can be drawn.

    Attributes:
        key: by which the choice is remembered.
        title: of the chart.
        short: the same in a word or two.
        names: the metrics that it draws; empty for a chart of the devices.
    """

    key: str
    title: str
    short: str
    names: Sequence[str] = ()

    @property
    def device(self) -> str:
        """The key of the chart of the devices; empty for a chart of metrics."""
        return self.key.removeprefix(DEVICE) if self.key.startswith(DEVICE) else ""


_TOGETHER = (
    ChartChoice(
        "similarity",
        "similarity",
        "cosines",
        ("contrast/positive", "contrast/negative", "contrast/hardest"),
    ),
    ChartChoice("rank", "effective rank", "rank", ("embedding/rank",)),
    ChartChoice("queue", "drift of the queue", "queue", ("queue/agreement",)),
)
"""Charts of metrics that are read together, or that have a name of their own."""


def chart_choices(log: MetricLog, devices: Sequence[str], *, probe: bool) -> list[ChartChoice]:
    """Every chart that this run has something to draw in, in the order in which they are offered.

    Args:
        log: its metrics, read as far as they go.
        devices: keys of its charts of the devices.
        probe: whether it is a probe: of one curves are drawn only where there are points enough.
    """
    names = log.names()
    drawn_losses, drawn_accuracies = losses(log), accuracies(log)
    if probe:
        drawn_losses = [n for n in drawn_losses if len(log.series(n)[0]) >= _LEAST_LOSSES]
        drawn_accuracies = [n for n in drawn_accuracies if len(log.series(n)[0]) > 1]
    found: list[ChartChoice] = []
    if drawn_losses or not probe:
        found.append(ChartChoice(LOSS, "loss", "loss", drawn_losses))
    if drawn_accuracies or not probe:
        found.append(ChartChoice(ACCURACY, "accuracy", "accuracy", drawn_accuracies))
    for choice in _TOGETHER:
        there = [name for name in choice.names if name in names]
        if there:
            found.append(choice._replace(names=there))
    alone = {choice.names[0] for choice in found if len(choice.names) == 1}
    found += [
        ChartChoice(name, curve_name(name), _tab(name), (name,))
        for name in names
        if name not in alone
    ]
    titles = chart_titles(devices)
    found += [ChartChoice(DEVICE + key, titles[key], titles[key]) for key in devices]
    return found


def _tab(name: str) -> str:
    return SHORT_NAMES.get(name) or fmt.clean(name.rpartition("/")[2] or name)


def default_keys(choices: Sequence[ChartChoice]) -> list[str]:
    """What is drawn when nobody has chosen: loss, accuracy, what is measured, what is used.

    Of the devices the use of the first card, where there is none that of the CPU.
    """
    there = [choice.key for choice in choices]
    wanted = [LOSS, ACCURACY, *(choice.key for choice in _TOGETHER)]
    used = next((key for key in (DEVICE + "card0/use", DEVICE + "cpu") if key in there), "")
    return [key for key in [*wanted, used] if key in there][:MOST_CHARTS]


def chosen_charts(choices: Sequence[ChartChoice], wanted: Sequence[str]) -> list[ChartChoice]:
    """The charts to draw, in order, six at most.

    Args:
        choices: of the run.
        wanted: keys that a person has chosen; of others than this run has something for are left
            out. Where none is left, or none was chosen: ``default_keys``.
    """
    known = {choice.key: choice for choice in choices}
    keys = [key for key in dict.fromkeys(wanted) if key in known] or default_keys(choices)
    return [known[key] for key in keys[:MOST_CHARTS]]


def spans(count: int) -> list[int]:
    """Of so many charts side by side how many of 12 columns each takes: three a row at most.

    Rows are as even as can be, the fuller ones first: five charts are three over two.
    """
    if count < 1:
        return []
    rows = -(-count // 3)
    sizes = [count // rows + (row < count % rows) for row in range(rows)]
    return [12 // size for size in sizes for _ in range(size)]


def matching(choices: Sequence[ChartChoice], text: str) -> list[ChartChoice]:
    """The choices whose title, key or metrics contain every word of a text, in any case."""
    return [
        choice
        for choice in choices
        if has_words(text, " ".join([choice.key, choice.title, *choice.names]))
    ]
