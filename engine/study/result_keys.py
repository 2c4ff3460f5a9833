"""Keys of results: texts that are equal where two configurations give the same numbers.

Two runs with equal keys count as the same result, whoever started them. Devices and threads change
only the last bits and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.baselines import BASELINES
from engine.config.heads import draws_random, sections_of
from engine.config.pretraining_key import key_text, plain, pretraining_key
from engine.study.grid import Source

__all__ = ["knn_key", "plain", "pretraining_key", "row_key"]


def row_key(flat: Mapping[str, Any], source: Source) -> str:
    """The key of the row of a source in a probe: what it depends on beside its encoder.

    The seed is part of it where the head or the baseline draws random numbers: random weights,
    the batches of SGD, augmentations.

    Args:
        flat: the probe's configuration as dotted keys and builtin values.
        source: whose row.
    """
    head = flat.get("head")
    baseline = BASELINES.get(source)
    has_head = baseline is None or baseline.has_head
    seeded = (baseline is not None and baseline.draws_random) or draws_random(str(head))
    # A baseline without a head has a section of its own, under its name.
    names = ("task", *(sections_of(str(head)) if has_head else (source,)))
    sections = tuple(f"{name}." for name in names)
    kept = {k: v for k, v in flat.items() if k.startswith(sections)}
    shared = ["label_fraction", "subset_seed", "validation"]
    if has_head:
        shared.append("head")
    if seeded:
        shared.append("runtime.seed")
    # Versions without it tuned from two labels a class on; the keys of their probes stay.
    if flat.get("tune_from", 2) != 2:
        shared.append("tune_from")
    if flat.get("data.source"):  # of a transfer; the keys of all other probes stay as they were
        shared.append("data.source")
    return key_text([kept, [flat.get(key) for key in shared]])


def knn_key(flat: Mapping[str, Any]) -> str:
    """The key of the kNN accuracy of a pretraining: what it depends on beside the weights.

    Empty where none is measured.

    Args:
        flat: the pretraining's configuration as dotted keys and builtin values.
    """
    if not flat.get("monitor.knn_every"):
        return ""
    measured = ("knn_k", "knn_temperature", "knn_features")
    kept = [flat.get("data.holdout"), *(flat.get(f"monitor.{name}") for name in measured)]
    return key_text(kept)
