"""A run at a glance: the few words and figures that tables show of it."""

from __future__ import annotations

from collections.abc import Mapping

from engine.history.entry import Entry


def augmentations(entry: Entry) -> list[str]:
    """The augmentations that are on, in their order; rotation with its angle (``rot15``)."""
    names = entry.setting("augment.order") or ()
    on = [name for name in names if entry.setting(f"augment.{name}.enabled")]
    degrees = entry.setting("augment.rotation.degrees")
    return [f"rot{degrees:g}" if name == "rotation" and degrees else str(name) for name in on]


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
