"""How many variants a study has at most, worked out without making them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from engine.config.schema import StudyConfig


def count_bound(config: StudyConfig) -> int:
    """At least as many as the study has variants; nothing is expanded to find out."""
    flat = {name: getattr(config, name) for name in ("queue_sizes", "axes", "recipes", "ablate")}
    return recorded_count({**flat, "design": config.design}, len(config.pretrain.augment.order))


def recorded_count(flat: Mapping[str, Any], augmentations: int) -> int:
    """``count_bound`` from the settings of a record, each of the type of its default.

    Args:
        flat: dotted keys; those of the axes may be missing.
        augmentations: how many there are at most.
    """
    axes, recipes = flat.get("axes") or {}, flat.get("recipes") or {}
    ablate, design = flat.get("ablate") or (), flat.get("design", "grid")
    counts = [_leaves(values) for name, values in axes.items() if name != "recipe"]
    counts += [len(recipes)] if recipes else []
    if ablate:
        everything = any(name.endswith("augment") for name in ablate)
        counts.append(1 + 2 * (augmentations if everything else len(ablate)))
    if not counts:
        return len(flat.get("queue_sizes") or ())
    return 1 + sum(counts) if design == "one-at-a-time" else math.prod(counts)


def _leaves(values: Any) -> int:
    if isinstance(values, Mapping):
        return math.prod(_leaves(inner) for inner in values.values())
    return max(len(values), 1) if isinstance(values, list | tuple) else 1
