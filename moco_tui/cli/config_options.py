"""Options that describe a new run or study: a preset, a TOML file, single settings, the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from engine.config.data import absolute_source, sources_in_words
from engine.config.fields import flatten
from engine.config.resolve import build
from engine.config.resolve import resolve as resolve_config
from moco_tui.cli.options import CONFIG, SETS, option_group

C = TypeVar("C", bound=Struct)


@dataclass(frozen=True)
class ConfigSource:
    """Where the settings of a run come from; the later wins.

    Attributes:
        preset: name of a preset; None: the defaults.
        toml: a TOML file.
        sets: ``KEY=VALUE`` texts.
        data: the data set.
    """

    preset: str | None = None
    toml: Path | None = None
    sets: tuple[str, ...] = ()
    data: str | None = None

    @property
    def given(self) -> bool:
        """Whether any of the options was given."""
        return bool(self.preset or self.toml or self.sets or self.data)

    def resolve(
        self,
        type_: type[C],
        extra: Mapping[str, Any],
        *,
        data_key: str,
        defaults: Mapping[str, Any] | None = None,
    ) -> C:
        """The configuration that the options make.

        Args:
            type_: the type of configuration.
            extra: dotted keys and values that win over the options.
            data_key: the setting that ``--data`` stands for.
            defaults: of settings that nothing names.

        Raises:
            ConfigError: one sentence on the first thing that is wrong.
        """
        if self.data is not None:
            extra = {data_key: self.data, **extra}
        config = resolve_config(
            type_,
            preset_name=self.preset,
            toml=self.toml,
            sets=self.sets,
            extra=extra,
            defaults=defaults,
        )
        values = flatten(config)
        try:  # the record must not depend on the folder in which the command was typed
            source = absolute_source(values[data_key])
        except RuntimeError:  # ~ of an unknown user; loading the data reports it in a sentence
            return config
        # Built from the values, not resolved again, which would warn twice of a renamed setting.
        return config if source == values[data_key] else build(type_, {**values, data_key: source})


CONFIG_SOURCE = option_group(
    "source",
    ConfigSource,
    click.option(
        "--preset", metavar="P", help="Where the settings start from; see moco-tui presets."
    ),
    CONFIG,
    SETS,
    click.option("--data", metavar="D", help=f"{sources_in_words(notes=False)}."),
)
