"""Which settings a study may vary, and its values of them, each checked by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from engine.config.augment import AUGMENTATIONS
from engine.config.fields import Field, fields
from engine.config.phrases import listed, shown_value
from engine.config.pretraining_key import FREE_OF_PRETRAINING
from engine.config.renamed import new_key, new_value
from engine.config.schema import GRID_KEYS, PretrainConfig, ProbeConfig
from engine.config.values import check_leaf, expand_key
from engine.errors import ConfigError

RECIPE = "recipe"
"""Name of the axis whose values are recipes."""
QUEUE = "moco.queue_size"
"""The setting that ``StudyConfig.queue_sizes`` holds the values of."""
_SEED = "runtime.seed"
_WITHIN = "pretrain."


def axis_key(name: str) -> str:
    """The whole dotted key of the pretraining that an axis is over, or ``recipe``.

    Args:
        name: as a person gave it: whole, the end of it, or with ``pretrain.`` before it.

    Raises:
        ConfigError: when it is no setting, or none that can be varied so; says what is right.
    """
    return RECIPE if name == RECIPE else varied_key(name, f"The axis {shown_value(name)}")


def varied_key(name: str, whose: str) -> str:
    """The whole dotted key of a setting of the pretraining that a study may vary.

    Args:
        name: see ``axis_key``.
        whose: the beginning of a sentence.

    Raises:
        ConfigError: see ``axis_key``.
    """
    inner = new_key(name).removeprefix(_WITHIN)
    try:
        key = expand_key(PretrainConfig, inner)
    except ConfigError as error:
        of_study = _of_the_study(name, whose)
        hint = of_study or _section(inner, whose) or f"{whose}: {error}"
        raise ConfigError(hint, "axes") from None
    if key == _SEED:
        raise ConfigError(
            f"{whose} is over the seeds of the pretrainings; the setting of the study that holds "
            "them is seeds, as in --set seeds=0,1,2.",
            "axes",
        )
    if key.startswith(FREE_OF_PRETRAINING):
        raise ConfigError(
            f"{whose} changes nothing of what a pretraining computes ({key}), so there is "
            "nothing to compare.",
            "axes",
        )
    return key


def _of_the_study(name: str, whose: str) -> str:
    """The sentence about a setting that the study or its probes hold; empty for another name."""
    of_grid = {key.removeprefix("probe."): by for key, by in GRID_KEYS.items() if "probe." in key}
    of_grid |= {by: by for by in GRID_KEYS.values()} | {"task": "tasks", "seed": "seeds"}
    inner = name.removeprefix("probe.")
    by = of_grid.get(inner) or next(
        (by for key, by in of_grid.items() if key.endswith(f".{inner}")), ""
    )
    if by == "queue_sizes":
        return f"{whose} is a list of the study already; name the axis {QUEUE}."
    if by:
        return (
            f"{whose} is no setting of a pretraining; the setting of the study that holds its "
            f"values is {by}, as in --set {by}=..."
        )
    try:
        key = expand_key(ProbeConfig, inner)
    except ConfigError:
        return ""
    return (
        f"{whose} is over a setting of the probes, which all variants share; set it by "
        f"--set probe.{key}=..."
    )


def _section(inner: str, whose: str) -> str:
    """The sentence about a group of settings; empty for another name."""
    if not any(key.startswith(f"{inner}.") for key in fields(PretrainConfig)):
        return ""
    first = next(k for k in fields(PretrainConfig) if k.startswith(f"{inner}."))
    hint = f"name one of them, as {first}"
    if inner == "augment" or inner.removeprefix("augment.") in AUGMENTATIONS:
        hint = f"--ablate {inner} leaves out what is in it, --axis {first}=... varies one of them"
    return f"{whose} is over a group of settings; {hint}."


def flat_axes(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of the axes in a table of a TOML file, where dots make tables of them."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat_axes(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def canonical_axes(table: Any) -> dict[str, Any]:
    """Axes by their whole keys, in their order; the values as they are.

    Raises:
        ConfigError: see ``axis_key``; also when two names mean one key, or it is no table.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"axes is {shown_value(table)}; it must be a table of settings and lists of values.",
            "axes",
        )
    found: dict[str, Any] = {}
    for name, values in flat_axes(table):
        key = axis_key(name)
        if key in found:
            raise ConfigError(f"The axis {key} is named twice; each may stand there once.", "axes")
        found[key] = values
    return found


class Checked(Struct, frozen=True):
    """The values of an axis, as the type of their setting has them.

    Attributes:
        key: dotted, of the pretraining.
        values: different ones, lists as tuples.
    """

    key: str
    values: tuple[Any, ...]


def checked_axis(key: str, values: Any) -> Checked:
    """The values of an axis, checked.

    Args:
        key: as ``axis_key`` gives it.
        values: builtin values.

    Raises:
        ConfigError: one sentence with the axis and the value that is wrong, or stands there twice.
    """
    if not isinstance(values, list | tuple):
        values = [values]
    if not values:
        raise ConfigError(f"The axis {key} names no value; it must name at least one.", "axes")
    found: list[Any] = []
    for value in values:
        checked = checked_value(key, value, f"The axis {key}")
        if checked in found:
            raise ConfigError(
                f"The axis {key} names {shown_value(value)} twice; each value may stand there "
                "once.",
                "axes",
            )
        found.append(checked)
    return Checked(key, tuple(found))


def checked_value(key: str, value: Any, whose: str) -> Any:
    """A value of a setting of the pretraining as its type has it; lists as tuples.

    Raises:
        ConfigError: one sentence that begins with ``whose`` and says what would be right.
    """
    field = fields(PretrainConfig)[key]
    value = new_value(key, value)
    try:
        if not _is_of_kind(field, value):
            raise ConfigError("", key)
        checked = check_leaf(field, PretrainConfig, value)
    except ConfigError as error:
        if str(error) and "must be" not in str(error):  # says more than the type
            raise ConfigError(f"{whose}: {error}", "axes") from None
        raise ConfigError(
            f"{whose} has the value {shown_value(value)}; it must be {field.expectation()}.", "axes"
        ) from None
    return tuple(checked) if isinstance(checked, list) else checked


def _is_of_kind(field: Field, value: Any) -> bool:
    """False for what msgspec would convert though nobody means it: true as 1, 0 as false."""
    if field.kind == "list":
        return isinstance(value, list | tuple)
    if field.kind == "bool":
        return isinstance(value, bool)
    return not isinstance(value, bool | list | tuple | Mapping)


def recipe_settings(name: str, table: Any) -> dict[str, Any]:
    """The settings of a recipe by their whole keys, checked.

    Args:
        name: of the recipe.
        table: names and values, nested or with dots.

    Raises:
        ConfigError: one sentence with the recipe and what is wrong.
    """
    whose = f"The recipe {shown_value(name)}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{whose} is {shown_value(table)}; it must be a table of settings.")
    found: dict[str, Any] = {}
    for given, value in flat_axes(table):
        key = varied_key(given, f"{shown_value(given)} in the recipe {shown_value(name)}")
        if key in found:
            raise ConfigError(f"{whose} names {key} twice; each may stand there once.", "recipes")
        found[key] = checked_value(key, value, f"{whose}, {key},")
    return found


def check_apart(parts: Mapping[str, set[str]]) -> None:
    """Refuses axes that vary the same setting.

    Args:
        parts: by what an axis is called, the keys that it varies.

    Raises:
        ConfigError: with the two, and the setting.
    """
    by_key: dict[str, str] = {}
    for name, keys in parts.items():
        for key in sorted(keys):
            if key in by_key:
                both = listed([by_key[key], name])
                raise ConfigError(
                    f"{key} is varied by {both}; a setting may be varied once.", "axes"
                )
            by_key[key] = name
