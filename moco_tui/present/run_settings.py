"""The settings of a run: by dotted key, and where they differ from its preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.config.missing_settings import flat_config, missing_values
from engine.history.entry import config_base
from engine.runs import Record


def settings_of(record: Record) -> dict[str, Any]:
    """The settings of a run by dotted key, lists where a configuration has tuples.

    Works for the configuration of any version, which a record may hold: what it lacks has the value
    that the run was computed with.
    """
    flat = flat_config(record.kind, record.config)
    flat |= missing_values(record.kind, flat)
    return {key: _listed(value) for key, value in flat.items()}


def data_source(setting: Callable[[str], Any]) -> Any:
    """Where the images of a run come from; of a study, where those of its pretrainings do.

    Args:
        setting: the value of a dotted key, None where the run has no such setting.
    """
    return setting("data.source") or setting("pretrain.data.source")


def differences(record: Record) -> dict[str, dict[str, Any]]:
    """Settings in which a run differs from its preset (from the defaults where it has none).

    Returns:
        Dotted key to ``{"value": the run's, "preset": the preset's or None}``.
    """
    base = {k: _listed(v) for k, v in config_base(record.kind, record.preset).items()}
    return {
        key: {"value": value, "preset": base.get(key)}
        for key, value in settings_of(record).items()
        if key not in base or value != base[key]
    }


def _listed(value: Any) -> Any:
    """Tuples as lists, in depth: a record read from JSON has lists, a preset has tuples."""
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _listed(item) for name, item in value.items()}
    return value
