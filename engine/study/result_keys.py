"""Keys of results: texts that are equal where two configurations give the same numbers.

Two runs with equal keys count as the same result, whoever started them. Devices and threads change
only the last bits and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.baselines import BASELINES
from engine.config.fields import flatten
from engine.config.heads import draws_random
from engine.study.grid import Source

# Prefixes of settings that leave the trained weights as they are.
_FREE_OF_PRETRAINING = (
    "log.",
    "monitor.",
    "data.holdout",  # images whose labels the monitor uses; pretraining sees all images anyway
    "runtime.device",
    "runtime.threads",
    "runtime.capture",
    "optim.epochs",  # this and the next are compared by ``_ends``
    "optim.stop_epoch",
)


def _ends(flat: Mapping[str, Any]) -> tuple[Any, Any]:
    """The length of the schedule and the epoch that training ends at.

    Together: ``stop_epoch`` 0 and one equal to ``epochs`` are the same training.
    """
    epochs = flat.get("optim.epochs")
    return epochs, flat.get("optim.stop_epoch") or epochs


def pretraining_key(flat: Mapping[str, Any]) -> str:
    """The key of a pretraining: the settings that its weights depend on.

    Args:
        flat: its configuration as dotted keys and builtin values.
    """
    kept = {k: v for k, v in flat.items() if not k.startswith(_FREE_OF_PRETRAINING)}
    return _text([kept, _ends(flat)])


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
    sections = ("task.", f"{head}." if has_head else f"{source}.")
    kept = {k: v for k, v in flat.items() if k.startswith(sections)}
    shared = ["label_fraction", "subset_seed", "validation"]
    if has_head:
        shared.append("head")
    if seeded:
        shared.append("runtime.seed")
    return _text([kept, [flat.get(key) for key in shared]])


def _text(value: Any) -> str:
    # Sorted: the order of keys may differ between a configuration and a record.
    return msgspec.json.encode(value, order="deterministic").decode()


def plain(config: Struct) -> dict[str, Any]:
    """A configuration as dotted keys and the values that a record has for them (lists, no tuples).

    Through JSON, since keys of configurations are compared with keys of records.
    """
    flat: dict[str, Any] = json.loads(msgspec.json.encode(flatten(config)))
    return flat
