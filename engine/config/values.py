"""Reading settings that people type or write in TOML files, and checking each by itself."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.fields import Field, fields, nest
from engine.config.phrases import listed, shown_value
from engine.config.renamed import new_key, new_value, warn_renamed
from engine.config.schema import title
from engine.config.toml_file import parse_toml, read_toml_file
from engine.errors import ConfigError
from engine.text import is_plain


def expand_key(type_: type[Struct], key: str) -> str:
    """The full dotted name of a field given by it or by any unambiguous tail of it.

    ``queue_size`` means ``moco.queue_size``; a name that stands alone at the top level wins.

    Raises:
        ConfigError: for a name that is unknown or stands for several fields.
    """
    known = fields(type_)
    if key in known:
        return key
    if new_key(key) != key:  # after the present names, which an old one must not hide
        now = expand_key(type_, new_key(key))
        warn_renamed(key, now)
        return now
    matches = [name for name in known if name.endswith("." + key)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(f"{key} could be {listed(matches, 'or')}; write the whole name.", key)
    tails = {name.rpartition(".")[2]: name for name in known}
    near = difflib.get_close_matches(key[:100], [*known, *tails], n=1, cutoff=0.6)
    hint = f"; did you mean {tails.get(near[0], near[0])}?" if near else "."
    raise ConfigError(f"{shown_value(key)} is not a setting of {title(type_)}{hint}", key)


def parse_value(field: Field, text: str) -> Any:
    """A value typed by a person, as TOML where it parses as TOML and as plain text elsewhere.

    Args:
        field: the setting.
        text: its value; quotes and brackets may be missing (``0,1,2``, ``resnet18``, ``off``).

    Returns:
        A builtin value, not yet checked: a text that is no number stays one, for the message of
        ``check_leaf``.
    """
    return renamed_value(field.key, _parse(field, text.strip()))


def renamed_value(key: str, value: Any) -> Any:
    """The value under the name that it has now, with a warning where that differs."""
    now = new_value(key, value)
    if now is not value and now != value:
        warn_renamed(f"{key}={shown_value(value)}", shown_value(now))
    return now


def _parse(field: Field, text: str) -> Any:
    if field.kind in ("text", "choice"):
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    plain_words = field.item in ("names", "texts") and not text.startswith(("[", '"', "'"))
    if not plain_words:  # TOML would read a group called 5 as a number
        try:
            value = parse_toml(f"value = {text}")["value"]
            # A single item is a list of one: seeds=0.
            return [value] if field.kind == "list" and not isinstance(value, list) else value
        except ValueError:
            pass
    if field.kind == "list":
        items = [part.strip().strip("\"'") for part in text.strip("[]").split(",")]
        return [item if plain_words else _number(item) for item in items if item]
    if field.kind in ("int", "float"):
        return _number(text)
    return {"on": True, "yes": True, "off": False, "no": False}.get(text.lower(), text)


def _number(text: str) -> int | float | str:
    """The number in a text that is no TOML (``.5``, items without brackets), else the text."""
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def parse_sets(type_: type[Struct], sets: Iterable[str]) -> dict[str, Any]:
    """``key=value`` texts as dotted keys and values.

    Raises:
        ConfigError: when there is no ``=`` or the key is not a setting.
    """
    values: dict[str, Any] = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {shown_value(text)}: it must be key=value, as in queue_size=16384."
            )
        if not key.strip():
            raise ConfigError(
                f"--set {shown_value(text)} names no key: it must be key=value, as in "
                "queue_size=16384."
            )
        key = expand_key(type_, key.strip())
        values[key] = parse_value(fields(type_)[key], value)
    return values


def read_toml(type_: type[Struct], path: Path) -> dict[str, Any]:
    """The values of a TOML file as dotted keys.

    Raises:
        ConfigError: when the file cannot be read or is not TOML, or a key is not a setting.
    """
    tree = read_toml_file(path)
    known = fields(type_)
    flat: dict[str, Any] = {}

    def walk(table: Mapping[str, Any], prefix: str) -> None:
        for name, value in table.items():
            key = prefix + name
            # A table that is a field itself (task.groups) is a value, not a section.
            if key not in known and isinstance(value, dict):
                if new_key(key) != key:
                    warn_renamed(key, new_key(key))
                    key = new_key(key)
                if not any(other.startswith(key + ".") for other in known):
                    expand_key(type_, key)  # raises: there is no such section
                walk(value, key + ".")
            else:
                flat[expand_key(type_, key)] = value

    walk(tree, "")
    return flat


def check_leaf(field: Field, type_: type[Struct], value: Any) -> Any:
    """The value of one field as its type wants it, checked against its own range alone.

    Args:
        field: the field.
        type_: the configuration that it belongs to.
        value: a builtin value; numbers may be texts.

    Raises:
        ConfigError: one sentence with the key, the value and what would be right.
    """
    # Converted inside its whole type, so that msgspec applies the bounds that stand there.
    try:
        checked = msgspec.to_builtins(
            msgspec.convert(nest({field.key: value}), type_, strict=False)
        )
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise refusal(field, value) from None
    for part in field.key.split("."):
        checked = checked[part]
    check_beyond_type(field, checked)
    return checked


def check_beyond_type(field: Field, value: Any) -> None:
    """What msgspec does not check: names in a registry, finite numbers, texts that JSON can hold.

    Args:
        field: the field.
        value: a builtin value that fits the field's type; an infinity is within one-sided bounds.

    Raises:
        ConfigError: as ``check_leaf``.
    """
    if not _all_texts(value, _is_unicode):
        # From bytes of the command line or of file names that are not UTF-8 (PEP 383).
        raise ConfigError(
            f"{field.key} is {shown_value(value)}, which holds bytes that are not UTF-8 and cannot "
            "be recorded; rename the file or folder, or make a link to it with a plain name.",
            field.key,
        )
    if not _all_texts(value, is_plain):
        # A record that is read has none of them (``plain_text``): it would name another file.
        raise ConfigError(
            f"{field.key} is {shown_value(value)}, which holds control characters or marks of "
            "direction; rename the file or folder, or make a link to it with a plain name.",
            field.key,
        )
    items = value if isinstance(value, list | tuple) else [value]
    known = field.registry is None or all(map(field.registry.accepts, items))
    # A larger integer is one that no record can hold.
    bounded = all(abs(item) < 2**63 for item in items if isinstance(item, int))
    finite = all(math.isfinite(item) for item in items if isinstance(item, float))
    if not (known and bounded and finite):
        raise refusal(field, value)


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _all_texts(value: Any, good: Callable[[str], bool]) -> bool:
    """Whether every text in a builtin value is good."""
    if isinstance(value, str):
        return good(value)
    if isinstance(value, Mapping):
        return all(good(key) and _all_texts(item, good) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(_all_texts(item, good) for item in value)


def refusal(field: Field, value: Any) -> ConfigError:
    """The error for a value that a field does not take."""
    sentence = f"{field.key} is {shown_value(value)}; it must be {field.expectation()}."
    return ConfigError(sentence, field.key)
