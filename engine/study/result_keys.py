"""Which configurations give the same numbers: what a result depends on, as a text.

Two runs whose keys are equal have the same result, whoever started them. Devices and threads
change the last bits alone and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.fields import flatten
from engine.study.grid import Source

_FREE_OF_PRETRAINING = (
    "log.",
    "monitor.",
    "data.holdout",  # of the monitor alone
    "runtime.device",
    "runtime.threads",
    "runtime.capture",
    "optim.epochs",  # this and the next are compared by ``_ends``
    "optim.stop_epoch",
)


def _ends(flat: Mapping[str, Any]) -> tuple[Any, Any]:
    """The length of the schedule and the epoch it ends at."""
    epochs = flat.get("optim.epochs")
    return epochs, flat.get("optim.stop_epoch") or epochs


def pretraining_key(flat: Mapping[str, Any]) -> str:
    """What a pretraining's numbers depend on, as a text.

    Args:
        flat: its configuration as dotted keys and builtin values.
    """
    kept = {k: v for k, v in flat.items() if not k.startswith(_FREE_OF_PRETRAINING)}
    return _text([kept, _ends(flat)])


def row_key(flat: Mapping[str, Any], source: Source) -> str:
    """What the row of a source in a probe depends on beside its encoder, as a text.

    The logistic optimum draws nothing at random, and ``supervised`` has no head.

    Args:
        flat: the probe's configuration as dotted keys and builtin values.
        source: whose row.
    """
    head = flat.get("head")
    sections = ["task."] + (["supervised."] if source == "supervised" else [f"{head}."])
    # What the seed of a probe draws: random weights, the batches of SGD, augmentations.
    seeded = source in ("random-init", "supervised") or head == "linear"
    kept = {k: v for k, v in flat.items() if k.startswith(tuple(sections))}
    shared = ["label_fraction", "subset_seed", "validation"]
    shared += ["head"] * (source != "supervised") + ["runtime.seed"] * seeded
    return _text([kept, [flat.get(key) for key in shared]])


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def plain(config: Struct) -> dict[str, Any]:
    """A configuration as dotted keys and the values that a record has for them."""
    flat: dict[str, Any] = json.loads(msgspec.json.encode(flatten(config)))
    return flat
