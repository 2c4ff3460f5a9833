"""Putting a configuration together from a preset, a TOML file and single values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import tomli_w
from msgspec import Struct

from engine.config import own_code
from engine.config.axis_layers import study_values
from engine.config.fields import fields, flatten, nest
from engine.config.open_settings import open_defaults
from engine.config.presets import preset
from engine.config.rules import check
from engine.config.schema import PretrainConfig, StudyConfig, names_axes
from engine.config.values import (
    check_beyond_type,
    check_leaf,
    expand_key,
    parse_sets,
    read_toml,
    renamed_value,
)
from engine.config.variants import expand
from engine.errors import ConfigError

C = TypeVar("C", bound=Struct)


def build(type_: type[C], values: Mapping[str, Any]) -> C:
    """The configuration with these values over the defaults, checked.

    Args:
        type_: the configuration type.
        values: dotted keys (whole or their tails) and values (builtin types; numbers may be texts).

    Raises:
        ConfigError: one sentence with the key, the value and what would be right.
    """
    known = fields(type_)
    values = {expand_key(type_, key): value for key, value in values.items()}
    values = {key: renamed_value(key, value) for key, value in values.items()}
    full = nest({key: field.default for key, field in known.items()} | values)
    try:
        config = msgspec.convert(full, type_, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        # msgspec names a path but not what would be right: find the leaf, and say it ourselves.
        for key, value in values.items():
            check_leaf(known[key], type_, value)
        raise ConfigError(f"The configuration is not valid: {error}.") from None
    flat = flatten(config)
    for key in values:
        check_beyond_type(known[key], flat[key])
    check(config)
    return config


def resolve(
    type_: type[C],
    *,
    preset_name: str | None = None,
    toml: Path | None = None,
    sets: Iterable[str] = (),
    extra: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> C:
    """Preset, then TOML file, then ``key=value`` texts, then ``extra``: the later wins.

    What none of them names may follow from others (``open_settings``), or is in ``defaults``.
    The axes of a study are put together by ``axis_layers.study_values``.

    Raises:
        ConfigError: one sentence on the first thing that is wrong.
    """
    # Each source gives whole dotted keys, or "queue_size" and "moco.queue_size" would not collide;
    # those of ``extra`` are expanded by ``build``.
    layers: list[Mapping[str, Any]] = []
    layers.append({} if preset_name is None else preset(preset_name, type_).values)
    layers.append({} if toml is None else read_toml(type_, toml))
    layers += [parse_sets(type_, sets), extra or {}]
    layers[0] = {**_open(type_, layers), **(defaults or {}), **layers[0]}
    if issubclass(type_, StudyConfig):
        values = study_values(layers)
    else:
        values = {key: value for layer in layers for key, value in layer.items()}
    config = build(type_, values)
    # A person typed these paths or wrote the file; records do not come through here.
    own_code.name_paths(paths_of(config))
    return config


def resolve_over(
    base: C,
    *,
    toml: Path | None = None,
    sets: Iterable[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> C:
    """A configuration with a TOML file, ``key=value`` texts and ``extra`` over it, as ``resolve``.

    Args:
        base: of a pretraining or a probe.
        toml: a TOML file.
        sets: texts.
        extra: dotted keys, whole or their tails, and values.

    Raises:
        ConfigError: one sentence on the first thing that is wrong.
    """
    type_ = type(base)
    layers: list[Mapping[str, Any]] = [{} if toml is None else read_toml(type_, toml)]
    layers += [parse_sets(type_, sets), extra or {}]
    values = flatten(base)
    for layer in layers:
        values |= {expand_key(type_, key): value for key, value in layer.items()}
    config = build(type_, values)
    # Not those that the base alone names: a record is nobody's word.
    own_code.name_paths(set(paths_of(config)) - set(paths_of(base)))
    return config


def _open(type_: type[Struct], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that no layer names and that follow others."""
    named = {expand_key(type_, key): value for layer in layers for key, value in layer.items()}
    return open_defaults(type_, named)


def paths_by_key(config: Struct) -> list[tuple[str, str]]:
    """The paths of the user's own that a configuration names, each after its dotted key."""
    known = fields(type(config))
    found: list[tuple[str, str]] = []
    for key, value in flatten(config).items():
        registry = known[key].registry
        if registry is not None:
            items = value if isinstance(value, list | tuple) else [value]
            found += [(key, item) for item in items if registry.is_own(item)]
    if isinstance(config, StudyConfig):
        found += _paths_of_variants(config)
    return found


def _paths_of_variants(config: StudyConfig) -> list[tuple[str, str]]:
    """The paths of the user's own that the variants of a study name, each once."""
    known = fields(PretrainConfig)
    found: dict[tuple[str, str], None] = {}
    for variant in expand(config).all if names_axes(config) else ():
        for key, value in variant.settings.items():
            registry = known[key].registry
            if registry is not None:
                items = value if isinstance(value, tuple) else [value]
                found |= {
                    (f"pretrain.{key}", item): None for item in items if registry.is_own(item)
                }
    return list(found)


def paths_of(config: Struct) -> list[str]:
    """The paths of the user's own that a configuration names."""
    return [path for _, path in paths_by_key(config)]


def to_toml(config: Struct) -> str:
    """The configuration as a TOML text that ``read_toml`` takes."""
    tree = msgspec.to_builtins(config)
    if isinstance(config, StudyConfig) and names_axes(config):
        del tree["queue_sizes"]  # not varied then, and a file that names it varies it
    return tomli_w.dumps(tree)
