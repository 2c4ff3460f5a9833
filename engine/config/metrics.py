"""The metrics that runs measure: what each is called, its unit, which way is better, its chart.

A metric is one entry of ``METRICS``. Charts, tables, filters and sorting look a name up with
``metric`` and decide by the fields of the entry, never by the name itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

ChartName = Literal["", "loss", "accuracy"]


class Metric(Struct, frozen=True, kw_only=True):
    """The entry of a metric.

    Attributes:
        name: as in the metric log; ``*`` stands for any part, as in ``probe/*/loss``.
        title: of its curve; empty: its name.
        unit: shown behind its values, such as ``%``; may be empty.
        direction: 1 when larger is better, -1 when smaller is, 0 when neither can be said.
        chart: the chart that draws it; empty: none does.
        decimals: digits after the point; None: ``digits`` significant ones.
        digits: significant digits where ``decimals`` is None.
        headline: can represent a whole run where there is room for one loss and one accuracy; of
            several the first in the order of ``METRICS`` does.
        short: its name in a line of progress; empty: it is not part of that line.
        column: heading of its column in the table of epochs; empty: it is not in the table.
        key: its short name in filters and sort keys, which take its name and the last part of
            that as well.
    """

    name: str
    title: str = ""
    unit: str = ""
    direction: Literal[-1, 0, 1] = 0
    chart: ChartName = ""
    decimals: int | None = None
    digits: int = 4
    headline: bool = False
    short: str = ""
    column: str = ""
    key: str = ""

    @property
    def is_pattern(self) -> bool:
        """Whether the entry is for all names of a form."""
        return "*" in self.name

    def stands_for(self, name: str) -> bool:
        """Whether this is the entry of a name, or a pattern that the name fits."""
        return fnmatchcase(name, self.name) if self.is_pattern else name == self.name


_LOSS = Metric(name="", direction=-1)
_ACCURACY = Metric(name="", unit="%", direction=1, chart="accuracy", decimals=1)

# The order counts: among headline metrics, and among patterns that fit one name, the first wins.
# Hence kNN on withheld labels before that on the test set, by which nothing may be chosen.
_ENTRIES = (
    replace(_LOSS, name="train/loss", chart="loss", headline=True, short="loss", key="loss"),
    Metric(name="train/lr", digits=3, short="lr", column="lr", key="lr"),
    replace(_LOSS, name="train/epoch_loss", column="loss"),
    # Of a probe the pretrained encoder, not a baseline: those only match the pattern below.
    replace(_ACCURACY, name="probe/pretrained/test_top1", headline=True, key="probe"),
    replace(
        _ACCURACY,
        name="knn/top1",
        title="kNN top-1, withheld labels",
        headline=True,
        short="kNN",
        column="kNN",
        key="knn",
    ),
    replace(
        _ACCURACY,
        name="knn/test_top1",
        title="kNN top-1, test set (reference only)",
        headline=True,
    ),
    replace(_ACCURACY, name="probe/*/test_top1", headline=True),
    replace(_ACCURACY, name="probe/*/validation_top1", headline=True),
    Metric(name="probe/*/test_balanced"),
    Metric(name="probe/*/test_majority"),
    # Of the longer of two trainings from scratch: whether more epochs would do better.
    replace(_ACCURACY, name="probe/*/check_top1"),
    replace(_LOSS, name="probe/*/check_loss"),
    Metric(name="probe/*/epochs_trained", unit="epochs"),
    Metric(name="probe/*/epochs_planned", unit="epochs"),
    Metric(name="probe/*/converged"),
    replace(_LOSS, name="probe/*/loss", chart="loss"),
    replace(_LOSS, name="probe/*/validation_loss"),
    replace(_LOSS, name="probe/*/selection_loss"),
    Metric(name="study/cells"),
)

METRICS: dict[str, Metric] = {entry.name: entry for entry in _ENTRIES}
"""Every metric by its name or pattern; of the patterns that fit a name the first counts."""


def registered(name: str) -> Metric | None:
    """The entry of a name, or of the first pattern that it matches; None where there is none."""
    if name in METRICS:
        return METRICS[name]
    patterns = (entry for entry in METRICS.values() if entry.is_pattern)
    return next((entry for entry in patterns if entry.stands_for(name)), None)


def metric(name: str) -> Metric:
    """The entry of a metric; of one that is not registered, an entry guessed from its name."""
    return registered(name) or _guessed(name)


def _guessed(name: str) -> Metric:
    """An entry for metrics of the user's own code and of records of earlier versions."""
    lower = name.lower()
    if "top1" in lower or "accuracy" in lower:
        return replace(_ACCURACY, name=name, headline=lower.endswith("top1"))
    if "loss" in lower:
        return replace(_LOSS, name=name, chart="loss" if _tail(lower) == "loss" else "")
    return Metric(name=name)


def headline(values: Mapping[str, float], chart: ChartName) -> str:
    """The metric that represents a run among those of a chart; empty when there is none.

    Entries for a single name come first, in the order of ``METRICS``; then other headline metrics,
    in the order of their names.

    Args:
        values: the metrics of the run; only the names count.
        chart: the chart that the metric must belong to.
    """
    for name, entry in METRICS.items():
        if entry.headline and entry.chart == chart and name in values:
            return name
    others = (name for name in values if metric(name).headline and metric(name).chart == chart)
    return min(others, default="")


def rank(name: str) -> int:
    """Sort key for lists of metrics: headline metrics first, in the order of ``METRICS``."""
    first = [entry.name for entry in METRICS.values() if entry.headline and not entry.is_pattern]
    return first.index(name) if name in first else len(first)


def named(key: str, names: Iterable[str]) -> list[str]:
    """The metrics that a key of a filter or of sorting means; a pattern where an entry is one.

    Args:
        key: a name, the last or the first part of one, or the ``key`` of an entry.
        names: metrics that runs have, registered or not.
    """
    # Names that a pattern covers are left out: the pattern finds them, and only once.
    known = sorted({*METRICS, *(name for name in names if registered(name) is None)})
    if "/" in key and (key in known or registered(key) is not None):
        return [key]
    # "knn" means knn/top1, "loss" train/loss; then the last part of a name, then its first part.
    short = [entry.name for entry in METRICS.values() if entry.key == key]
    short += [name for name in (f"{key}/top1", f"train/{key}") if name in known][:1]
    if short:
        return list(dict.fromkeys(short))
    tails = [name for name in known if _tail(name) == key]
    return tails or [name for name in known if name.partition("/")[0] == key]


def _tail(name: str) -> str:
    return name.rpartition("/")[2]
