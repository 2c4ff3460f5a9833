"""A run at a glance: the few words and figures that tables show of it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.augment import AUGMENTATIONS, short_label
from engine.history.entry import Entry


def augmentations(entry: Entry) -> list[str]:
    """The short labels of the augmentations that are on, in their order (``crop``, ``rot15``)."""
    shown = []
    for name in entry.setting("augment.order") or ():
        part = AUGMENTATIONS.get(name)
        own = part is None and AUGMENTATIONS.is_own(name)
        if own or entry.setting(f"augment.{name}.enabled"):
            names = part.settings.__struct_fields__ if part and part.settings else ()
            settings = {key: entry.setting(f"augment.{name}.{key}") for key in names}
            shown.append(short_label(name, settings))
    return shown


def accuracy(values: Mapping[str, float]) -> float | None:
    """The accuracy that stands for a run, in percent.

    A probe's is that of the encoder it is about, not of a baseline; a pretraining's is kNN on
    withheld labels, and that of the test set only where there is no other.
    """
    for name in ("probe/pretrained/test_top1", "probe/test_top1", "knn/top1", "knn/test_top1"):
        if name in values:
            return values[name]
    names = sorted(name for name in values if name.endswith("top1"))
    return values[names[0]] if names else None
