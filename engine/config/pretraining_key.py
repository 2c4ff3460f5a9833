"""The key of a pretraining: a text that is equal where two configurations give the same weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.data import own_size
from engine.config.fields import flatten
from engine.config.schema import ModelConfig

FREE_OF_PRETRAINING = (
    "log.",
    "monitor.",
    "data.holdout",  # images whose labels the monitor uses; pretraining sees all images anyway
    "runtime.device",
    "runtime.threads",
    "runtime.capture",
)
"""Prefixes of settings that leave the trained weights as they are."""
NOT_IN_OLD_KEYS: Mapping[str, Any] = {
    "optim.warmup_epochs": 0,
    "moco.momentum_schedule": "constant",
    "model.feature_side": 0,
}
"""Settings that came later, and the value of a run that does not use them: such a run keeps the key
that it had, and its checkpoints can be read by versions that do not know them."""
_SIZE_KEY = "data.image_size"
_COMPARED_BY_ENDS = ("optim.epochs", "optim.stop_epoch")


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
    free = FREE_OF_PRETRAINING + _COMPARED_BY_ENDS
    kept = {k: v for k, v in flat.items() if not k.startswith(free)}
    return key_text([without_unused(kept), _ends(flat)])


def without_unused(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that came later and are not used, as earlier versions had them.

    Args:
        flat: the configuration of a pretraining as dotted keys, or a part of it.
    """
    return {
        key: value
        for key, value in without_own_size(flat).items()
        if key not in NOT_IN_OLD_KEYS or value != NOT_IN_OLD_KEYS[key]
    }


def model_facts(model: ModelConfig) -> dict[str, Any]:
    """The settings of a model as a checkpoint has them.

    What all nets had before there was another choice is left out: earlier versions read that.
    """
    facts = {f"model.{key}": value for key, value in msgspec.to_builtins(model).items()}
    if model.stem == "cifar":
        del facts["model.stem"]  # keys have it
    return {key.removeprefix("model."): value for key, value in without_unused(facts).items()}


def without_own_size(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the size of the images where it is the set's own.

    Named or not it gives the same images, and earlier versions have no such setting.

    Args:
        flat: the configuration of a pretraining as dotted keys, or a part of it.
    """
    size = flat.get(_SIZE_KEY)
    if size and size != own_size(str(flat.get("data.source"))):
        return dict(flat)
    return {key: value for key, value in flat.items() if key != _SIZE_KEY}


def key_text(value: Any) -> str:
    """Builtin values as a text that is equal for equal values."""
    # Sorted: the order of keys may differ between a configuration and a record.
    return msgspec.json.encode(value, order="deterministic").decode()


def plain(config: Struct) -> dict[str, Any]:
    """A configuration as dotted keys and the values that a record has for them (lists, no tuples).

    Through JSON, since keys of configurations are compared with keys of records.
    """
    flat: dict[str, Any] = json.loads(msgspec.json.encode(flatten(config)))
    return flat
