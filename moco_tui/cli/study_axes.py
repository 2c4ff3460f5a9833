"""Options that say what a study varies, and what it judges its pretrainings by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from engine.config.axis_keys import RECIPE, axis_key, recipe_settings
from engine.config.axis_text import axis_values, split_values
from engine.config.data import absolute_source
from engine.config.phrases import shown_value
from engine.config.schema import StudyConfig
from engine.config.toml_file import read_toml_file
from engine.errors import ConfigError
from moco_tui.cli.options import option_group

_SOURCE = "data.source"
_EXAMPLE = "--axis moco.momentum=0.9,0.99"


@dataclass(frozen=True)
class AxisOptions:
    """What a study varies, as it was typed.

    Attributes:
        axes: ``KEY=V1,V2`` texts.
        ablate: names of augmentations, or several with commas.
        design, judge: see ``StudyConfig``; None: not given.
    """

    axes: tuple[str, ...] = ()
    ablate: tuple[str, ...] = ()
    design: str | None = None
    judge: str | None = None

    @property
    def given(self) -> bool:
        """Whether any of the options was given."""
        return bool(self.axes or self.ablate or self.design or self.judge)

    @property
    def names_axes(self) -> bool:
        """Whether they say what is varied."""
        return bool(self.axes or self.ablate)

    def values(self) -> dict[str, Any]:
        """Settings of a study and their values.

        Raises:
            ConfigError: one sentence on the first thing that is wrong.
        """
        found: dict[str, Any] = {}
        axes: dict[str, Any] = {}
        recipes: dict[str, Any] = {}
        for text in self.axes:
            key, values = _axis(text, recipes)
            if key in axes:
                raise ConfigError(
                    f"--axis {key} is given twice; name all of its values once, as in {_EXAMPLE}."
                )
            axes[key] = values
        if axes:
            found["axes"] = axes
        if recipes:
            found["recipes"] = recipes
        if self.ablate:
            names = (name.strip() for text in self.ablate for name in text.split(","))
            found["ablate"] = [name for name in names if name]
        if self.design is not None:
            found["design"] = self.design
        if self.judge is not None:
            found["judge"] = self.judge
        return found


NOTHING_VARIED = AxisOptions()


def _axis(text: str, recipes: dict[str, Any]) -> tuple[str, list[Any]]:
    """The key and the values of a ``KEY=V1,V2``; what files hold goes into ``recipes``."""
    name, equals, listed = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--axis {shown_value(text)}: it must be KEY=V1,V2, as in {_EXAMPLE}.")
    key = axis_key(name.strip())
    parts = [part for part in split_values(listed) if part]
    if not parts:
        raise ConfigError(f"--axis {key} names no value; it must be as in {_EXAMPLE}.")
    if key == RECIPE:
        return key, [_recipe(part, recipes) for part in parts]
    return key, axis_values(key, listed)


def _recipe(text: str, recipes: dict[str, Any]) -> str:
    """The name of a recipe; its file is read once, and the study needs it no more."""
    path = Path(text).expanduser()
    if path.suffix != ".toml" and not path.exists():
        return text  # one that the preset or the study's own file holds
    name = path.stem
    if name in recipes:
        raise ConfigError(
            f"Two files of --axis recipe are called {shown_value(name)}; give one another name."
        )
    try:
        settings = recipe_settings(name, read_toml_file(path))
    except ConfigError as error:
        if str(path) in str(error):
            raise
        raise ConfigError(f"{path}: {error}", error.key) from None
    recipes[name] = settings
    return name


def with_absolute_sources(config: StudyConfig) -> StudyConfig:
    """The study with absolute paths of the images that it varies.

    The record must not depend on the folder in which the command was typed.
    """

    def absolute(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: absolute_source(value) if key == _SOURCE and isinstance(value, str) else value
            for key, value in values.items()
        }

    sources = config.axes.get(_SOURCE, ())
    if not sources and not any(_SOURCE in table for table in config.recipes.values()):
        return config
    axes = dict(config.axes)
    if sources:
        axes[_SOURCE] = tuple(absolute_source(str(source)) for source in sources)
    recipes = {name: absolute(table) for name, table in config.recipes.items()}
    return replace(config, axes=axes, recipes=recipes)


AXES = option_group(
    "varied",
    AxisOptions,
    click.option(
        "--axis",
        "axes",
        multiple=True,
        metavar="KEY=V1,V2,...",
        help="Vary a setting of the pretraining; repeatable. Values that are lists stand in "
        "brackets. recipe=A.toml,B.toml: groups of settings that change together.",
    ),
    click.option(
        "--ablate",
        multiple=True,
        metavar="augment[.NAME],...",
        help="Leave out each augmentation, and have each alone: all of them, or those named.",
    ),
    click.option(
        "--design",
        type=click.Choice(["grid", "one-at-a-time"]),
        help="Every combination of the values, or each alone against the settings of the study.",
    ),
    click.option(
        "--judge",
        type=click.Choice(["probes", "knn"]),
        help="By probes on the test images, or by kNN on training images with withheld labels.",
    ),
)
