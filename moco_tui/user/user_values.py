"""Checking what a user's configuration holds, each value by itself: a wrong one harms no other."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import msgspec

from engine.config.fields import Field, fields, nest
from engine.config.phrases import shown_value
from engine.config.schema import GRID_KEYS, KINDS, NOT_IN_STUDIES
from engine.config.values import check_leaf, expand_key, parse_value, refusal
from engine.errors import ConfigError
from engine.text import is_plain
from moco_tui.user.user_schema import ListColumn, UserConfig

TABLES = ("keys", "form.pretrain", "form.probe", "form.study")
"""Settings that are tables: what stands in them has names of its own."""
_KEY_LIST = re.compile(r"[^\s,]+(\s*,\s*[^\s,]+)*")
_MOST_KEYS = 100  # characters of the keys of one binding
_MOST_PARTS = 6  # of the id of a binding


def known_settings() -> Mapping[str, Field]:
    """Every setting by its dotted key, in the order of declaration."""
    return fields(UserConfig)


def table_of(key: str) -> str:
    """The table of ``TABLES`` that a key stands in; empty for any other setting."""
    return next((table for table in TABLES if key.startswith(f"{table}.")), "")


def leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The dotted keys of a file's tables, with their values; those within ``TABLES`` one by one.

    A value of the wrong type comes as it is.
    """

    def walk(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict) and _is_section(key):
                yield from walk(value, f"{key}.")
            else:
                yield key, value

    yield from walk(tree, "")


def _is_section(key: str) -> bool:
    """Whether settings stand within a table of this name; False, too, for one of another name."""
    table = table_of(key)
    if table == "keys":
        return key.count(".") < _MOST_PARTS
    if table:
        settings = fields(KINDS[table.removeprefix("form.")])
        inner = key.removeprefix(f"{table}.")
        return any(name.startswith(f"{inner}.") for name in settings)
    return key in TABLES or any(name.startswith(f"{key}.") for name in known_settings())


def checked(key: str, value: Any) -> tuple[str, Any]:
    """A setting under its whole name, with its value as the type wants it.

    Args:
        key: dotted, as it stands in the file.
        value: a builtin value.

    Raises:
        ConfigError: one sentence on what is wrong, and what would be right.
    """
    table = table_of(key)
    if not table and key not in known_settings():
        raise unknown(key)
    try:
        plain = is_plain(key) and _plain(value)
    except RecursionError:
        raise ConfigError(f"{shown_value(key)} holds lists too deep within each other.") from None
    if not plain:
        raise ConfigError(f"{shown_value(key)} holds control characters; leave them out.", key)
    if table == "keys":
        return key, _key_list(key, value)
    if table:
        return _form_setting(table, key.removeprefix(f"{table}."), value)
    if key in TABLES:
        raise ConfigError(f"{key} is {shown_value(value)}; it must be a table.", key)
    found = check_leaf(known_settings()[key], UserConfig, value)
    for name in found if key == "columns.runs" else ():
        _check_column(name)
    return key, found


def _check_column(name: str) -> None:
    """Refuses what no column of the list of runs can show.

    Raises:
        ConfigError: with the nearest name that there is.
    """
    # The names of metrics of the user's own code have a stroke; no run may have them yet.
    if name in get_args(ListColumn) or "/" in name:
        return
    from engine.history.keys import resolve

    try:
        resolve(name, ())
    except ConfigError as error:
        near = difflib.get_close_matches(name[:100], get_args(ListColumn), n=1)
        hint = f"did you mean {near[0]}?" if near else str(error).partition(": ")[2]
        raise ConfigError(
            f"columns.runs names {shown_value(name)}, which is no column: {hint}", "columns.runs"
        ) from None


def typed(key: str, words: Sequence[str]) -> Any:
    """The value that a person typed for a setting, not yet checked.

    Args:
        key: dotted.
        words: as they were typed; a list may have several.

    Raises:
        ConfigError: for a key that is no setting, or too many words.
    """
    field = _field(key)
    if field is not None and field.kind == "list" and len(words) > 1:
        return list(words)
    if len(words) > 1:
        raise ConfigError(f"{shown_value(key)} takes one value; quote one with spaces.", key)
    return words[0].strip() if field is None else parse_value(field, words[0])


def _field(key: str) -> Field | None:
    """What is known of a setting; None for the keys of a binding.

    Raises:
        ConfigError: for a key that is no setting.
    """
    table = table_of(key)
    if table == "keys":
        return None
    if table:
        type_ = KINDS[table.removeprefix("form.")]
        return fields(type_)[expand_key(type_, key.removeprefix(f"{table}."))]
    if key not in known_settings() or key in TABLES:
        raise unknown(key)
    return known_settings()[key]


def unknown(key: str) -> ConfigError:
    """The error for a key that is no setting, with the nearest one that is."""
    known = known_settings()
    tails = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key[:100], [*known, *tails], n=1, cutoff=0.6)
    hint = f"; did you mean {tails.get(near[0], near[0])}?" if near else "."
    if key in TABLES:
        hint = f" by itself; name one in it, as in {key}.NAME."
    return ConfigError(f"{shown_value(key)} is not a setting of your configuration{hint}", key)


def assembled(values: Mapping[str, Any]) -> UserConfig:
    """The configuration of values that ``checked`` has let through."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        table = table_of(key)
        if table:
            flat.setdefault(table, {})[key.removeprefix(f"{table}.")] = value
        else:
            flat[key] = value
    return msgspec.convert(nest(flat), UserConfig)


def _plain(value: Any) -> bool:
    """Whether no text in a value holds what a terminal would obey."""
    if isinstance(value, str):
        return is_plain(value)
    if isinstance(value, Mapping):
        return all(is_plain(name) and _plain(item) for name, item in value.items())
    return not isinstance(value, list | tuple) or all(map(_plain, value))


def _key_list(key: str, value: Any) -> str:
    """Keys of the keyboard, separated by commas.

    Raises:
        ConfigError: when they are something else.
    """
    if isinstance(value, str) and len(value) <= _MOST_KEYS and _KEY_LIST.fullmatch(value.strip()):
        return ",".join(part.strip() for part in value.split(","))
    raise ConfigError(
        f"{shown_value(key)} is {shown_value(value)}; it must be keys between commas, as in "
        "n,ctrl+n.",
        key,
    )


def _form_setting(table: str, key: str, value: Any) -> tuple[str, Any]:
    """A default of the form.

    Raises:
        ConfigError: when it is no setting of such a run, or its value does not fit.
    """
    kind = table.removeprefix("form.")
    name = expand_key(KINDS[kind], key)
    if kind == "study" and name in GRID_KEYS.keys() | NOT_IN_STUDIES:
        raise ConfigError(f"{table}: {name} cannot be set for a study; its grid does.", name)
    field = fields(KINDS[kind])[name]
    if field.kind == "table" and not isinstance(value, dict):
        raise refusal(field, value)
    return f"{table}.{name}", check_leaf(field, KINDS[kind], value)
