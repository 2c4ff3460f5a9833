"""The metrics that runs measure: what each is called, its unit, its chart, what "better" means.

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
GroupName = Literal["", "task", "queue", "encoders", "embedding"]
BestOf = Literal["", "training", "full-queue"]


class Metric(Struct, frozen=True, kw_only=True):
    """The entry of a metric.

    Attributes:
        name: as in the metric log; ``*`` stands for any part, as in ``probe/*/loss``.
        title: of its curve; empty: its name.
        unit: shown behind its values, such as ``%``; may be empty.
        direction: 1 when larger is better, -1 when smaller is, 0 when neither can be said.
        best: of which values a run has a best one: ``training``, those of steps above 0 (what is
            measured at step 0 is the untrained encoder's); ``full-queue``, the means of epochs in
            which every query met a queue that held nothing but keys; empty: of none.
        same: settings, or groups of them, that two runs must share if one value is to be better
            than the other; where they differ the values measure different things.
        of_chance: a loss whose level at chance the record of a run knows.
        dense: written at every step, and so noisy that its curve is drawn smoothed.
        chart: the chart that draws it; empty: none does.
        decimals: digits after the point; None: ``digits`` significant ones.
        digits: significant digits where ``decimals`` is None.
        headline: can represent a whole run where there is room for one loss and one accuracy; of
            several the first in the order of ``METRICS`` does.
        short: its name in a line of progress; empty: it is not part of that line.
        column: heading of its column in the table of epochs; empty: it is not in the table.
        key: its short name in filters and sort keys, which take its name and the last part of
            that as well.
        group: of the measures that a pretraining takes of itself what it is about: these are shown
            in groups, under their titles; empty: it is none of them.
        meaning: one line on what a value says, with its source.
    """

    name: str
    title: str = ""
    unit: str = ""
    direction: Literal[-1, 0, 1] = 0
    best: BestOf = ""
    same: tuple[str, ...] = ()
    of_chance: bool = False
    dense: bool = False
    chart: ChartName = ""
    decimals: int | None = None
    digits: int = 4
    headline: bool = False
    short: str = ""
    column: str = ""
    key: str = ""
    group: GroupName = ""
    meaning: str = ""

    @property
    def is_pattern(self) -> bool:
        """Whether the entry is for all names of a form."""
        return "*" in self.name

    @property
    def own(self) -> str:
        """The name that a tail such as ``test_top1`` means: of a probe that of its encoder.

        Not those of its baselines, which the same pattern covers.
        """
        return self.name.replace("probe/*/", "probe/pretrained/")

    def stands_for(self, name: str) -> bool:
        """Whether this is the entry of a name, or a pattern that the name fits."""
        return fnmatchcase(name, self.name) if self.is_pattern else name == self.name


_LOSS = Metric(name="", direction=-1, best="training")
_ACCURACY = Metric(name="", unit="%", direction=1, best="training", chart="accuracy", decimals=1)

# What the contrastive loss (arXiv:1911.05722, eq. 1) measures: how well a key is told from the
# others. More keys or another temperature make that harder or easier for one and the same encoder,
# and so do other images, other views of them, and a leak through BatchNorm (section 3.3). No share
# of chance makes up for it: with K negatives the loss grows as ln K plus a constant, so that its
# share of ln(K + 1) differs between queue sizes for one and the same encoder.
_CONTRAST = (
    "data",
    "augment",
    "moco.queue_size",
    "moco.temperature",
    "moco.shuffle_keys",
    "model.bn_splits",
)
_CONTRASTIVE_LOSS = replace(
    _LOSS, same=(*_CONTRAST, "moco.symmetric"), of_chance=True
)  # the symmetric loss is the sum of two directions: of chance it is the same share
_KNN = replace(
    _ACCURACY,
    same=("data", "monitor.knn_k", "monitor.knn_temperature", "monitor.knn_features"),
)
# Of features in training: of augmented views, with units dropped.
_ONLINE = ("data", "augment", "model.dropout")
_HEAD_LOSS = replace(_LOSS, same=("data", "task", "label_fraction", "head"))
_PROBE = replace(_ACCURACY, same=("data", "task"))

# Of ``engine.pretrain.measures``, in the order in which they are shown. None has a best value: each
# can be good for a bad reason.
_TASK = Metric(name="", decimals=3, group="task")
_QUEUE = Metric(name="", decimals=3, group="queue")
_ENCODERS = Metric(name="", decimals=3, group="encoders")
_EMBEDDING = Metric(name="", decimals=3, group="embedding")
_MEASURES = (
    replace(
        _TASK,
        name="contrast/top1",
        title="key found among 1 + K",
        unit="%",
        decimals=1,
        meaning="queries whose key is nearer than all K negatives (arXiv:1911.05722, eq. 1)",
    ),
    replace(
        _TASK,
        name="contrast/top5",
        title="key among the nearest 5",
        unit="%",
        decimals=1,
        meaning="queries with fewer than 5 negatives as near as their key (main_moco.py's acc5)",
    ),
    replace(
        _TASK,
        name="contrast/positive",
        title="cosine of query and key",
        meaning="mean over the pairs of q . k+ (arXiv:1911.05722, eq. 1); 1: views are one point",
    ),
    replace(
        _TASK,
        name="contrast/negative",
        title="cosine of query and negative",
        meaning="mean over all pairs with the queue of q . k (arXiv:1911.05722, eq. 1)",
    ),
    replace(
        _TASK,
        name="contrast/hardest",
        title="cosine of query and nearest negative",
        meaning="mean over the queries of their largest cosine with a key of the queue",
    ),
    replace(
        _TASK,
        name="contrast/gap",
        title="positive less negative",
        meaning="how much nearer its key is to a query than a negative; 0: nothing is told apart",
    ),
    replace(
        _QUEUE,
        name="queue/filled",
        title="share of the queue that holds keys",
        decimals=2,
        meaning="below 1 the other negatives are random vectors, which are told apart easily",
    ),
    replace(
        _QUEUE,
        name="queue/agreement",
        title="cosine of an old key and the same now",
        meaning="of keys that leave the queue; consistent keys are near 1 (arXiv:1911.05722, 3.2)",
    ),
    replace(
        _ENCODERS,
        name="encoders/distance",
        title="distance of the encoders' weights",
        decimals=None,
        digits=3,
        meaning="of query and key encoder, relative; grows with m (arXiv:1911.05722, eq. 2)",
    ),
    replace(
        _ENCODERS,
        name="encoders/agreement",
        title="cosine of both encoders' embeddings",
        meaning="of the same view through query and key encoder; 1: they are alike",
    ),
    replace(
        _ENCODERS,
        name="train/gradient_norm",
        title="norm of the gradient",
        decimals=None,
        digits=3,
        meaning="Euclidean, of all weights of the query encoder at the last step",
    ),
    replace(
        _EMBEDDING,
        name="embedding/spread",
        title="spread of the dimensions",
        meaning="mean of std x sqrt(dim); 1: even on the sphere, 0: one point (arXiv:2011.10566)",
    ),
    replace(
        _EMBEDDING,
        name="embedding/dead",
        title="dead dimensions",
        decimals=0,
        meaning="dimensions whose spread is below 0.01, which tell no images apart",
    ),
    replace(
        _EMBEDDING,
        name="embedding/rank",
        title="effective rank",
        decimals=1,
        meaning="RankMe: how many dimensions are used, 1 to dim (arXiv:2210.02885, eq. 1)",
    ),
    replace(
        _EMBEDDING,
        name="embedding/alignment",
        title="alignment",
        meaning="mean squared distance of two views, 0 to 4; small is aligned (arXiv:2005.10242)",
    ),
    replace(
        _EMBEDDING,
        name="embedding/uniformity",
        title="uniformity",
        meaning="log of the mean potential of pairs, 0 to -8; low is uniform (arXiv:2005.10242)",
    ),
)
MEASURES = tuple(entry.name for entry in _MEASURES)
"""Names of what a pretraining measures of itself, in the order in which they are shown."""

# The order counts: among headline metrics, and among patterns that fit one name, the first wins.
# Hence kNN on withheld labels before that on the test set, by which nothing may be chosen.
_ENTRIES = (
    # The smallest loss of a single batch is luck, and in the first steps the queue holds random
    # vectors, which any encoder tells from keys: no best. The mean of an epoch has one.
    replace(
        _CONTRASTIVE_LOSS,
        name="train/loss",
        best="",
        dense=True,
        chart="loss",
        headline=True,
        short="loss",
        key="loss",
    ),
    Metric(name="train/lr", digits=3, short="lr", column="lr", key="lr"),
    replace(_CONTRASTIVE_LOSS, name="train/epoch_loss", best="full-queue", column="loss"),
    # Of a probe the pretrained encoder, not a baseline: those only match the pattern below.
    replace(_PROBE, name="probe/pretrained/test_top1", headline=True, key="probe"),
    replace(
        _KNN,
        name="knn/top1",
        title="kNN top-1, withheld labels",
        headline=True,
        short="kNN",
        column="kNN",
        key="knn",
    ),
    replace(
        _KNN,
        name="knn/test_top1",
        title="kNN top-1, test set (reference only)",
        headline=True,
    ),
    replace(
        _ACCURACY,
        name="online/top1",
        title="online probe top-1, withheld labels",
        same=_ONLINE,
        short="online",
        column="online",
        key="online",
    ),
    replace(
        _ACCURACY,
        name="online/train_top1",
        title="online probe top-1, training",
        same=_ONLINE,
        chart="",
    ),
    replace(_LOSS, name="online/loss", title="online probe loss", same=_ONLINE),
    replace(_PROBE, name="probe/*/test_top1", headline=True),
    # Of a training that tries a learning rate, such as probe/supervised/lr_0.1/validation_top1: no
    # figure for the whole run.
    replace(_PROBE, name="probe/*/lr_*/validation_top1"),
    replace(_PROBE, name="probe/*/validation_top1", headline=True),
    Metric(name="probe/*/test_balanced"),
    Metric(name="probe/*/test_majority"),
    # Of the longer of two trainings from scratch: whether more epochs would do better.
    replace(_PROBE, name="probe/*/check_top1"),
    replace(_HEAD_LOSS, name="probe/*/check_loss"),
    Metric(name="probe/*/epochs_trained", unit="epochs"),
    Metric(name="probe/*/epochs_planned", unit="epochs"),
    Metric(name="probe/*/converged"),
    replace(_HEAD_LOSS, name="probe/*/loss", chart="loss"),
    replace(_HEAD_LOSS, name="probe/*/validation_loss"),
    replace(_HEAD_LOSS, name="probe/*/selection_loss"),
    Metric(name="study/cells"),
    *_MEASURES,
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
    own = [METRICS[name].own if name in METRICS else name for name in tails]
    return list(dict.fromkeys(own)) or [n for n in known if n.partition("/")[0] == key]


def _tail(name: str) -> str:
    return name.rpartition("/")[2]
