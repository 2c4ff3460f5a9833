"""The values of an axis as a person types them, on the command line and in a form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.config.axis_keys import RECIPE, checked_axis
from engine.config.fields import fields
from engine.config.phrases import shown_value
from engine.config.schema import PretrainConfig
from engine.config.values import parse_value
from engine.errors import ConfigError

_BRACKETS = {"[": "]", "{": "}"}


def axis_values(key: str, text: str) -> list[Any]:
    """The values in a text such as ``0.9, 0.99``, each of the type of its setting.

    Args:
        key: as ``axis_key`` gives it; of ``recipe`` the values are names, which are not checked.
        text: values with commas between them; those that are lists stand in brackets.

    Raises:
        ConfigError: one sentence with the axis and what is wrong.
    """
    parts = [part for part in split_values(text) if part]
    if not parts:
        raise ConfigError(f"The axis {key} names no value; it must name at least one.", "axes")
    if key == RECIPE:
        return list(parts)
    field = fields(PretrainConfig)[key]
    if field.kind == "list" and not all(part.startswith("[") for part in parts):
        items = ",".join(str(item) for item in field.default)
        raise ConfigError(
            f"The axis {key} has the value {shown_value(text)}; its values are lists, each in "
            f"brackets, as in [{items}],[...].",
            "axes",
        )
    # Checked here, where it is still known what was typed.
    values = checked_axis(key, [parse_value(field, part) for part in parts]).values
    return [list(value) if isinstance(value, tuple) else value for value in values]


def split_values(text: str) -> Iterator[str]:
    """The parts of a text between its commas, but for those within brackets or quotes."""
    part, open_, quote = "", 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _BRACKETS:
            open_ += 1
        elif letter in _BRACKETS.values():
            open_ -= 1
        if letter == "," and not quote and open_ <= 0:
            yield part.strip()
            part = ""
        else:
            part += letter
    yield part.strip()
