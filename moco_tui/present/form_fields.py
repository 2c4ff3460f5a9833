"""The settings as the form shows them: what they are called, in which order, and their ranges."""

from __future__ import annotations

from engine.config.fields import Field
from engine.config.heads import HEADS
from engine.config.schema import ProbeConfig

LABELS = {
    "data.source": "data",
    "moco.queue_size": "queue size",
    "optim.epochs": "epochs",
    "optim.batch_size": "batch size",
    "optim.stop_epoch": "stop after epoch",
    "runtime.device": "device",
    "task.name": "task",
    "seeds": "pretraining seeds",
    "judge": "judged by",
}


def _lower_first(title: str) -> str:
    return title[:1].lower() + title[1:]


ESSENTIAL = {
    "pretrain": (
        "data.source",
        "moco.queue_size",
        "optim.epochs",
        "optim.batch_size",
        "runtime.device",
    ),
    "probe": (
        *("label_fraction", "task.name", "head", "data.source", "baselines"),
        *("subset_seed", "runtime.device"),
    ),
    "study": (
        "pretrain.data.source",
        "queue_sizes",
        "design",
        "judge",
        "label_fractions",
        "tasks",
        "heads",
        "seeds",
        "subset_seeds",
        "baselines",
        "supervised_subsets",
        "pretrain.optim.epochs",
        "pretrain.optim.batch_size",
        "pretrain.runtime.device",
        "devices",
    ),
}
_PRETRAIN_SECTIONS = (
    ("Encoder", "model"),
    ("Queue and loss", "moco"),
    ("Optimizer", "optim"),
    ("kNN, online probe, measures", "monitor"),
    ("Data", "data"),
    ("Checkpoints and logs", "log"),
    ("Device and seed", "runtime"),
)
_PROBE_SECTIONS = (
    ("Task", "task"),
    # Every head of the registry, that of the default first.
    *(
        (f"{name.capitalize()} head", name)
        for name in sorted(HEADS, key=lambda name: name != ProbeConfig().head)
    ),
    ("Supervised baseline", "supervised"),
    ("Labels", ""),
    ("Device and seed", "runtime"),
)
SECTIONS = {
    "pretrain": _PRETRAIN_SECTIONS,
    "probe": _PROBE_SECTIONS,
    "study": (
        ("Recipes, workers", ""),
        ("Pretraining: augmentations", "pretrain.augment"),
        *(
            (f"Pretraining: {_lower_first(title)}", f"pretrain.{name}")
            for title, name in _PRETRAIN_SECTIONS
        ),
        *(
            (f"Probe: {_lower_first(title)}", f"probe.{name}".rstrip("."))
            for title, name in _PROBE_SECTIONS
        ),
    ),
}
"""Title and section of everything that is not essential, by kind of run."""
FIRST = {"pretrain": "moco.queue_size", "probe": "label_fraction", "study": "queue_sizes"}
"""The field that has the focus at first."""


_TABLES = {
    "groups": 'groups, as {vehicles = ["ship"], animals = ["cat"]}',
    "axes": 'settings and values, as {"moco.momentum" = [0.9, 0.99]}',
    "recipes": 'names and settings, as {large = {"moco.queue_size" = 16384}}',
}


def label(key: str) -> str:
    """What a field is called in the form."""
    known = LABELS.get(key.removeprefix("pretrain.").removeprefix("probe."))
    return known if known is not None else key.rpartition(".")[2].replace("_", " ")


def range_hint(field: Field) -> str:
    """Unit and range of a field, short."""
    if field.kind == "choice":
        return "one of " + ", ".join(field.choices)
    if field.kind == "bool":
        return ""
    if field.name == "devices":
        return "all, or cuda:0, cpu:2; empty: as above"
    if field.kind == "list":
        return "a list, separated by commas" + (
            f": {', '.join(field.choices)}" * bool(field.choices)
        )
    if field.kind == "table":
        return _TABLES.get(field.name, "a table")
    low = field.ge if field.ge is not None else field.gt
    high = field.le if field.le is not None else field.lt
    parts = [field.unit] if field.unit else []
    if low is not None and high is not None:
        left = "" if field.ge is not None else ">"
        right = "" if field.le is not None else "<"
        parts.append(f"{left}{_plain(low)} – {right}{_plain(high)}")
    elif low is not None:
        parts.append(f"{'>=' if field.ge is not None else '>'} {_plain(low)}")
    elif high is not None:
        parts.append(f"{'<=' if field.le is not None else '<'} {_plain(high)}")
    return "  ".join(parts)


def _plain(number: float) -> str:
    if number >= 2**31 - 1:  # the bound of seeds
        return "2^31"
    return f"{number:g}" if abs(number) < 10_000 or number != int(number) else f"{int(number):,}"
