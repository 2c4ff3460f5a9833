"""The options of every axis of a study: a label, and the settings of the pretraining it stands for.

An axis over one setting has an option for each value, one over recipes one for each recipe. An
ablation has one for everything that the settings of the study have on, one without each
augmentation, and one with each alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from engine.config.augment import AUGMENTATIONS, short_label
from engine.config.axis_keys import (
    RECIPE,
    canonical_axes,
    check_apart,
    checked_axis,
    recipe_settings,
)
from engine.config.axis_labels import option_label
from engine.config.fields import flatten
from engine.config.phrases import listed, shown_value
from engine.config.schema import PretrainConfig, StudyConfig
from engine.errors import ConfigError

ALL = "all"
"""The option of an ablation that leaves nothing out."""


class Option(Struct, frozen=True):
    """One value of an axis.

    Attributes:
        label: short, for people.
        settings: dotted keys of the pretraining and values; lists as tuples.
    """

    label: str
    settings: dict[str, Any]


class Axis(Struct, frozen=True):
    """What a study varies in one direction.

    Attributes:
        name: the setting, ``recipe`` or ``ablate``.
        options: its values.
        reference: the place of the option that has the values of the study's ``pretrain``; None
            where none has.
    """

    name: str
    options: tuple[Option, ...]
    reference: int | None


def axes_of(config: StudyConfig) -> tuple[Axis, ...]:
    """The axes of a study in their order: settings and recipes as named, then the ablation.

    Raises:
        ConfigError: one sentence on the first thing that is wrong.
    """
    base = flatten(config.pretrain)
    named = canonical_axes(config.axes)
    if config.recipes:
        named.setdefault(RECIPE, tuple(config.recipes))
    made: list[Axis] = []
    for key, values in named.items():
        options = _recipes(config, values) if key == RECIPE else _values(key, values)
        made.append(Axis(key, options, _reference(options, base)))
    if config.ablate:
        made.append(Axis("ablate", _ablation(config), 0))
    check_apart(
        {
            _called(axis.name): {key for option in axis.options for key in option.settings}
            for axis in made
        }
    )
    return tuple(made)


def _called(name: str) -> str:
    special = {RECIPE: "a recipe", "ablate": "the ablation"}
    return special.get(name, f"the axis {name}")


def _reference(options: tuple[Option, ...], base: Mapping[str, Any]) -> int | None:
    def has_the_base(option: Option) -> bool:
        return all(_listed(value) == base[key] for key, value in option.settings.items())

    return next((i for i, option in enumerate(options) if has_the_base(option)), None)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _values(key: str, values: Any) -> tuple[Option, ...]:
    checked = checked_axis(key, values)
    return tuple(Option(option_label(key, value), {key: value}) for value in checked.values)


def _recipes(config: StudyConfig, names: Any) -> tuple[Option, ...]:
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ConfigError("The axis recipe names no recipe; it must name at least one.", "axes")
    found: list[Option] = []
    for name in names:
        if name not in config.recipes:
            there = f"there are {listed(list(config.recipes))}" if config.recipes else "it has none"
            raise ConfigError(
                f"The axis recipe names {shown_value(name)}, which is none of the study's recipes; "
                f"{there}.",
                "axes",
            )
        if any(option.label == name for option in found):
            raise ConfigError(
                f"The axis recipe names {shown_value(name)} twice; each may stand there once.",
                "axes",
            )
        found.append(Option(name, recipe_settings(name, config.recipes[name])))
    unused = [name for name in config.recipes if name not in names]
    if unused:
        raise ConfigError(f"The recipe {unused[0]} is not named by the axis recipe.", "recipes")
    return tuple(found)


# --------------------------------------------------------------------------------------------
# Ablations


def _ablation(config: StudyConfig) -> tuple[Option, ...]:
    on = _enabled(config.pretrain)
    chosen = _chosen(config, on)
    options = [Option(ALL, {})]
    options += [
        Option(f"without {_words(name)}", _switched_off(config.pretrain, {name})) for name in chosen
    ]
    options += [
        Option(f"{_words(name)} alone", _switched_off(config.pretrain, set(on) - {name}))
        for name in chosen
    ]
    return tuple(options)


def _enabled(pretrain: PretrainConfig) -> list[str]:
    """The augmentations that are on, in their order; those of the user's own by their path."""
    augment = pretrain.augment
    # One of the user's own has no switch: it is on while the order names it.
    return [
        name
        for name in augment.order
        if name not in AUGMENTATIONS or getattr(augment, name).enabled
    ]


def _switched_off(pretrain: PretrainConfig, names: set[str]) -> dict[str, Any]:
    """The settings that leave out some augmentations."""
    order = pretrain.augment.order
    off: dict[str, Any] = {
        f"augment.{name}.enabled": False for name in order if name in names & set(AUGMENTATIONS)
    }
    if names - set(AUGMENTATIONS):
        kept = tuple(name for name in order if name in AUGMENTATIONS or name not in names)
        off["augment.order"] = kept
    return off


def _words(name: str) -> str:
    # Paths of the user's own by what follows the colon, as everywhere.
    return name.replace("_", " ") if name in AUGMENTATIONS else short_label(name, {})


def _chosen(config: StudyConfig, on: list[str]) -> list[str]:
    """The augmentations to ablate, in the order of the program."""
    found: set[str] = set()
    for given in config.ablate:
        name = given.removeprefix("pretrain.").removeprefix("augment.")
        if name == "augment":
            found |= set(on)
        elif name in on:
            if name in found and "augment" not in config.ablate:
                raise ConfigError(
                    f"ablate names {shown_value(given)} twice; each may stand there once.", "ablate"
                )
            found.add(name)
        else:
            raise ConfigError(_no_ablation(given, name, on), "ablate")
    if not found:
        raise ConfigError(
            "ablate: every augmentation is off in the settings of the study, so there is nothing "
            "to leave out.",
            "ablate",
        )
    return [name for name in on if name in found]


def _no_ablation(given: str, name: str, on: list[str]) -> str:
    if name in AUGMENTATIONS:
        return (
            f"ablate names {shown_value(given)}, which is off in the settings of the study; switch "
            f"it on, as by --set pretrain.augment.{name}.enabled=true, or leave it out here."
        )
    near = difflib.get_close_matches(name[:100], [*AUGMENTATIONS, "augment"], n=1)
    hint = f" Did you mean augment.{near[0]}?".replace("augment.augment", "augment") if near else ""
    there = listed(["augment", *(f"augment.{other}" for other in on)], "or")
    return f"ablate names {shown_value(given)}, which is no augmentation; it must be {there}.{hint}"
