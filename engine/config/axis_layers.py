"""The axes of a study, put together from a preset, a file and what was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.config.axis_keys import QUEUE, RECIPE, canonical_axes, checked_axis, recipe_settings
from engine.config.schema import StudyConfig
from engine.config.values import expand_key
from engine.errors import ConfigError

_AXES = ("axes", "recipes", "ablate")


def study_values(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of a study from its layers; the later wins.

    Each axis of the last layer is laid over the axes so far, one by one. ``queue_sizes`` beside
    axes is the axis over the queue size, unless it is only that of the preset, which a study that
    names its axes does not vary. An axis over the queue size alone is ``queue_sizes``: both are
    the same study.

    Args:
        layers: of dotted keys and values: the preset's first, what was typed as options last.

    Raises:
        ConfigError: one sentence on the first axis or recipe that is wrong.
    """
    preset, *given, typed = layers
    values: dict[str, Any] = {}
    for layer in (preset, *given):
        values |= layer
    typed = {expand_key(StudyConfig, key): value for key, value in typed.items()}
    values = _with_axes(values, typed)
    if not any(values.get(key) for key in _AXES):
        return values
    values["axes"] = axes = _checked(canonical_axes(values.get("axes", {})))
    if values.get("recipes"):
        values["recipes"] = _recipes(values["recipes"], axes)
    sizes = values.pop("queue_sizes", None)
    if sizes is not None and any("queue_sizes" in layer for layer in (*given, typed)):
        if QUEUE in axes:
            raise ConfigError(
                f"queue_sizes and the axis {QUEUE} are the same; give one of them.", "queue_sizes"
            )
        values["axes"] = axes = _checked({QUEUE: sizes}) | axes
    others = values.get("recipes") or values.get("ablate") or f"pretrain.{QUEUE}" in values
    if list(axes) == [QUEUE] and not others:
        values["queue_sizes"] = values.pop("axes")[QUEUE]
    return values


def _with_axes(values: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The values with those that were typed as options over them, axis by axis."""
    merged = {**values, **typed}
    if "axes" in typed and values.get("axes"):
        merged["axes"] = canonical_axes(values["axes"]) | canonical_axes(typed["axes"])
    if "recipes" in typed and values.get("recipes"):
        merged["recipes"] = {**values["recipes"], **typed["recipes"]}
    return merged


def _checked(axes: Mapping[str, Any]) -> dict[str, Any]:
    """The axes with their values as the types of their settings have them."""
    return {
        key: values if key == RECIPE else _plain(checked_axis(key, values).values)
        for key, values in axes.items()
    }


def _recipes(recipes: Any, axes: Mapping[str, Any]) -> Any:
    """The recipes that the axes name, with whole keys; all where they name none."""
    if not isinstance(recipes, Mapping):
        return recipes  # refused by its type
    names = axes.get(RECIPE, tuple(recipes))
    return {
        name: {key: _plain(value) for key, value in recipe_settings(name, table).items()}
        for name, table in recipes.items()
        if name in names
    }


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
