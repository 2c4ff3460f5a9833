"""Configurations from a preset with overrides, as ``--preset``, ``--config`` and ``--set`` make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from engine.config.fields import flatten
from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.errors import ConfigError

C = TypeVar("C", bound=Struct)
Overrides = Mapping[str, Any]
"""Values by dotted name (``optim.epochs``) or its end (``epochs``) where that is one setting's."""


def pretrain_config(
    preset: str = "", overrides: Overrides | None = None, *, toml: str | Path | None = None
) -> PretrainConfig:
    """The configuration of a pretraining: preset, then TOML file, then overrides.

    Args:
        preset: its name, as ``moco-tui presets`` lists them; empty: the defaults.
        overrides: values that win over both.
        toml: a file of settings.

    Raises:
        ConfigError: one sentence with the setting, the value and what would be right.

    >>> config = pretrain_config("quick", {"optim.epochs": 3, "queue_size": 512})
    >>> config.optim.epochs, config.moco.queue_size, config.data.source
    (3, 512, 'shapes')
    >>> pretrain_config("quick", {"moco.momentum": 2})
    Traceback (most recent call last):
    engine.errors.ConfigError: moco.momentum is 2; it must be a number of at least 0 and at most 1.
    """
    return _made(PretrainConfig, preset, overrides, toml)


def probe_config(
    overrides: Overrides | None = None, *, toml: str | Path | None = None
) -> ProbeConfig:
    """The configuration of a probe: TOML file, then overrides.

    Raises:
        ConfigError: see ``pretrain_config``.

    >>> probe_config({"label_fraction": 0.1, "head": "linear"}).label_fraction
    0.1
    """
    return _made(ProbeConfig, "", overrides, toml)


def study_config(
    preset: str = "", overrides: Overrides | None = None, *, toml: str | Path | None = None
) -> StudyConfig:
    """The configuration of a study: preset, then TOML file, then overrides.

    Raises:
        ConfigError: see ``pretrain_config``.

    >>> config = study_config("quick-study", {"seeds": [0, 1], "pretrain.optim.epochs": 1})
    >>> config.queue_sizes, config.seeds
    ((512, 2048), (0, 1))
    """
    return _made(StudyConfig, preset, overrides, toml)


def settings_of_config(config: Struct) -> dict[str, Any]:
    """Every setting of a configuration by its dotted name.

    >>> settings_of_config(pretrain_config("quick"))["moco.queue_size"]
    2048
    """
    return flatten(config)


def _made(type_: type[C], preset: str, overrides: Overrides | None, toml: str | Path | None) -> C:
    given = {} if overrides is None else overrides
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigError(
            "overrides must be a table of values by the names of settings, such as "
            '{"optim.epochs": 3}.'
        )
    file = None if toml is None else Path(toml)
    return resolve(type_, preset_name=preset or None, toml=file, extra=given)
