"""Configurations of other versions: settings that they lack, and settings that this one lacks.

A version records every setting that it has. One that a record or a checkpoint lacks was added
later, and the run did without it: it reads as its default, so a new setting whose default changes
nothing needs no line here. ``WHEN_MISSING`` has the others.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.config.fields import fields, flatten
from engine.config.phrases import listed
from engine.config.schema import KINDS, AnyConfig, StudyConfig, names_axes
from engine.config.variants import expand
from engine.errors import ConfigError, RunError

WHEN_MISSING: Mapping[str, Mapping[str, Any]] = {
    # version 0.1 began crops at 0.2 of the area, and trained a supervised baseline for less; it had
    # neither measures nor an online probe
    "pretrain": {
        "augment.crop.scale_min": 0.2,
        "monitor.measures": False,
        "monitor.online_probe": False,
    },
    "probe": {
        "tune_from": 2,  # one image a class was enough to hold out
        # one rate for backbone and classifier, one length, and frozen where nothing was tuned
        "finetune.lr": [0.001, 0.005, 0.02, 0.1],
        "finetune.head_lr": 0.0,
        "finetune.fixed_lr": 0.0,
        "finetune.choose_length": False,
        "linear.crop_min": 0.2,  # no setting then
        "logistic.folds": 0,  # one held-out part chose the strength, however small
        "supervised.epochs": 60,
        "supervised.max_images": 400_000,
    },
}
"""By kind and dotted key: what a run did that does not name a setting, where that is not its
default. A study holds a pretraining and a probe."""

_SWITCH = re.compile(r"(?P<section>(.*\.)?augment\.)(?P<name>\w+)\.enabled")


@functools.cache
def values_when_missing(kind: str) -> Mapping[str, Any]:
    """What every setting of a kind reads as where a configuration lacks it, by dotted key."""
    type_ = KINDS.get(kind)
    if type_ is None:
        return {}
    # Through JSON: as a record has them, lists and no tuples.
    flat: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(flatten(type_())))
    parts = [(kind, "")] if kind != "study" else [(part, f"{part}.") for part in WHEN_MISSING]
    for part, prefix in parts:
        flat |= {f"{prefix}{key}": value for key, value in WHEN_MISSING.get(part, {}).items()}
    return flat


def missing_values(kind: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a flat configuration lacks, with what they read as.

    An augmentation that its ``augment.order`` does not name was none in the version that wrote it,
    and stays off whatever its default is.

    Args:
        kind: of the run.
        flat: dotted keys and builtin values.
    """
    known = values_when_missing(kind)
    found = {key: known[key] for key in known.keys() - flat.keys()}
    for key in found:
        switch = _SWITCH.fullmatch(key)
        order = flat.get(f"{switch['section']}order") if switch else None
        if switch and isinstance(order, list | tuple):
            found[key] = found[key] and switch["name"] in order
    return found


def flat_config(kind: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """A nested configuration as dotted keys; what is no setting of the kind keeps its own key.

    Unlike ``config.fields.flatten`` it takes the plain tables of a record, which a person may have
    edited or another version written.
    """
    known = values_when_missing(kind)
    flat: dict[str, Any] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for name, value in table.items():
            key = prefix + name
            # A table that is a setting itself (task.groups) is a value.
            if isinstance(value, dict) and key not in known:
                walk(value, key + ".")
            else:
                flat[key] = value

    walk(tree, "")
    return flat


def completed(kind: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    """A nested configuration with the settings that it lacks; tables that change are copied.

    Args:
        kind: of the run.
        tree: plain tables; left as they are.
    """
    out = dict(tree)
    for key, value in missing_values(kind, flat_config(kind, tree)).items():
        *sections, name = key.split(".")
        table: Any = out
        for section in sections:
            inner = table.get(section, {})
            if not isinstance(inner, Mapping):  # damaged: refused where it is converted
                break
            table[section] = table = dict(inner)
        else:
            table[name] = value
    return out


def read_config(kind: str, tree: Mapping[str, Any], whose: str) -> AnyConfig:
    """The configuration in a record, of this version or another one.

    Args:
        kind: of the run.
        tree: plain tables.
        whose: the beginning of a sentence: ``The record of run k7xw2m``.

    Raises:
        RunError: one sentence with the settings that this version does not know, or what is wrong.
    """
    try:
        config = msgspec.convert(completed(kind, tree), KINDS[kind], strict=False)
    except (KeyError, msgspec.ValidationError) as error:
        unknown = unknown_settings(kind, tree)
        if unknown:
            raise RunError(refusal_of_unknown(whose, unknown)) from error
        raise RunError(
            f"{whose} holds a configuration that this version does not know ({error})."
        ) from error
    if isinstance(config, StudyConfig) and names_axes(config):
        try:
            expand(config)
        except ConfigError as error:  # edited, or an axis over a setting of another version
            raise RunError(
                f"{whose} names variants that this version does not know: {error}"
            ) from (error)
    return config


def unknown_settings(kind: str, tree: Mapping[str, Any]) -> list[str]:
    """Dotted keys in a configuration that are no settings of the kind in this version."""
    if kind not in KINDS:
        return []
    return sorted(flat_config(kind, tree).keys() - fields(KINDS[kind]).keys())


def refusal_of_unknown(whose: str, unknown: list[str]) -> str:
    """The sentence about settings that only a newer version can know."""
    shown = unknown[:5] + ([f"{len(unknown) - 5} more"] if len(unknown) > 5 else [])
    noun = "a setting" if len(unknown) == 1 else "settings"
    return (
        f"{whose} names {noun} that this version of moco-tui does not know ({listed(shown)}); a "
        "newer one wrote it: update moco-tui to go on with it."
    )
