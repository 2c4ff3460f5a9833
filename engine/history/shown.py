"""The figures that a table shows of a run: worked out here once, for its cells and for its keys.

A filter or a sort key that names a column compares the very number that the column shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config.augment import AUGMENTATIONS, short_label
from engine.config.metrics import ChartName, headline
from engine.config.schema import KINDS
from engine.history.entry import Entry
from engine.runs.encoder_step import EncoderStep
from engine.runs.log_summary import gains, trained_values

_STATES = ("running", "paused", "queued", "handed-over", "lost", "failed", "damaged", "stopped")


def state_rank(status: str) -> int:
    """Place of a state in a table sorted by it: what needs a look comes first."""
    return _STATES.index(status) if status in _STATES else len(_STATES)


def loss(entry: Entry) -> float | None:
    """The newest value of the loss that stands for the run."""
    return _value(entry.last, "loss")


def top1(entry: Entry) -> float | None:
    """The newest accuracy that stands for the run, in percent; of a probe that of its encoder.

    Not that of step 0, where nothing was trained yet.
    """
    found = _value(trained_values(entry.last, entry.best, entry.untrained), "accuracy")
    return _result(entry) if found is None else found


def best(entry: Entry) -> float | None:
    """The best accuracy that stands for the run, in percent; of a result the one in that."""
    found = _result(entry)
    return _value(entry.best, "accuracy") if found is None else found


def gain(entry: Entry) -> float | None:
    """Points by which the best accuracy of a pretraining lies above the untrained encoder's."""
    if _result(entry) is not None:
        return None
    return _value(gains(entry.best, entry.untrained), "accuracy")


def done(entry: Entry) -> float | None:
    """How much of the run is done, in percent from 0 to 100."""
    if entry.status == "finished":
        return 100.0
    return min(100.0 * entry.step / entry.total_steps, 100.0) if entry.total_steps else None


def labels(entry: Entry) -> float | None:
    """Share of the labels that a probe may use, in percent."""
    share = entry.setting("label_fraction")
    if isinstance(share, bool) or not isinstance(share, float | int):
        return None
    return round(100.0 * share, 9)  # 100 * 0.07 is above 7, which labels<=7 has to find


def encoder_step(entry: Entry) -> int | None:
    """Steps of pretraining behind the encoder of a probe; None where that was not recorded."""
    found = EncoderStep.of(entry.result) if entry.kind == "probe" else None
    return None if found is None else found.step


def trained(entry: Entry) -> float | None:
    """Share of its schedule that the encoder of a probe had behind it, in percent."""
    found = EncoderStep.of(entry.result) if entry.kind == "probe" else None
    return None if found is None else found.percent


def augmentations(entry: Entry) -> list[str]:
    """The short labels of the augmentations that are on, in their order (``crop``, ``rot15``)."""
    shown: list[str] = []
    if entry.kind not in KINDS:  # nothing is known of what its settings hold
        return shown
    for name in entry.setting("augment.order") or ():
        part = AUGMENTATIONS.get(name)
        own = part is None and AUGMENTATIONS.is_own(name)  # has no settings: it is on when named
        if own or entry.setting(f"augment.{name}.enabled"):
            names = part.settings.__struct_fields__ if part and part.settings else ()
            settings = {key: entry.setting(f"augment.{name}.{key}") for key in names}
            shown.append(short_label(name, settings))
    return shown


def source(entry: Entry) -> str:
    """Where the images of a run come from, of a study those of its pretrainings; may be empty."""
    found: Any = entry.setting("data.source") or entry.setting("pretrain.data.source")
    return found if isinstance(found, str) else ""


def short_source(source: str) -> str:
    """A data source without the path of its folder: ``folder:/home/me/cats`` is ``cats``."""
    head, _, tail = source.partition(":")
    return (Path(tail).name or head) if tail else head


def _value(values: Mapping[str, float], chart: ChartName) -> float | None:
    """The metric of a chart that stands for the run."""
    return values.get(headline(values, chart))


def _result(entry: Entry) -> float | None:
    return entry.result.get("top1", entry.result.get("test_top1"))
