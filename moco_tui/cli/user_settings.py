"""The settings of the user's configuration as rows: value, where it comes from, what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.config.fields import fields, flatten
from engine.config.schema import KINDS
from moco_tui.user.remembered import columns_of, theme_of
from moco_tui.user.toml_edit import literal
from moco_tui.user.user_file import UserFile
from moco_tui.user.user_values import TABLES, known_settings


@dataclass(frozen=True)
class InForce:
    """A setting as it holds now.

    Attributes:
        key: dotted.
        value: builtin.
        source: ``default``, or the name of the file that says it.
        description: what it is.
    """

    key: str
    value: Any
    source: str
    description: str


def in_force(user: UserFile, bindings: Mapping[str, str] | None = None) -> list[InForce]:
    """Every setting in the order of declaration; of a table each that stands in it.

    Args:
        user: the configuration.
        bindings: what each binding does, by its id.
    """
    values = flatten(user.config)
    found: list[InForce] = []
    for key, field in known_settings().items():
        unit = f" ({field.unit})" if field.unit else ""
        if key in TABLES and values[key]:
            found += [
                InForce(f"{key}.{name}", value, user.path.name, _inner(key, name, bindings or {}))
                for name, value in values[key].items()
            ]
            continue
        value, source = values[key], user.path.name if key in user.given else "default"
        if key == "theme":
            theme, where = theme_of(user)
            value, source = theme, "default" if where is None else where.name
        elif key == "columns.runs":
            columns, where = columns_of(user)
            value, source = columns, "default" if where is None else where.name
        found.append(InForce(key, value, source, f"{field.help}{unit}"))
    return found


def _inner(table: str, name: str, bindings: Mapping[str, str]) -> str:
    """What a setting within a table is."""
    if not table.startswith("form."):
        return bindings.get(name, "keys of a binding")
    return fields(KINDS[table.removeprefix("form.")])[name].help


def value_text(setting: InForce, *, secret: bool = False) -> str:
    """A value as people read it.

    Args:
        setting: with its value.
        secret: hide what stands behind the scheme of an address, which often holds a password.
    """
    value = setting.value
    if setting.key == "notify.apprise" and secret:
        value = [f"{address.partition('://')[0]}://..." for address in value]
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and not value:
        return ""
    return literal(value)
