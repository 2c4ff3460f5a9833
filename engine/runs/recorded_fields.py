"""What is checked of the JSON of a run folder before anything works with it.

A record is read by every list, screen and comparison, and may have been written by anybody. So its
texts are cleaned and its numbers and sizes bounded here, once; what does not fit is one sentence
about that run. Keys that this version does not know stay: a newer one may have written them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from engine.config.missing_settings import flat_config
from engine.config.recorded_values import unusable_setting
from engine.text import plain_text

RECORD_BYTES = 16 << 20
"""Bytes that ``run.json`` may have: that of a probe of 20,000 classes has about 4 MiB."""
NOTES_BYTES = 1 << 20
"""Bytes that ``user.json`` may have."""

TEXT_LIMIT = 10_000
"""Characters that are kept of any text; a path has up to 4,096."""
KEY_LIMIT = 200
"""Characters that are kept of a name, as of a metric."""
_DEPTH = 32
_VALUES = 250_000
_CHECKPOINT = re.compile(r"|best|[0-9]{1,9}")  # it becomes part of a file's name
_HARMLESS = frozenset({float, bool, type(None)})  # JSON has neither NaN nor infinities
_INTEGER = 2**63  # below it in size: what files of numbers and the index can hold

_LIMITS = {
    "name": 200,
    "preset": 200,
    "kind": 40,
    "host": 255,
    "device": 200,
    "error": 2000,
    "study": 255,
}
"""Characters that are kept of some fields of a record."""

Count = Annotated[int, Meta(ge=0, le=10**15)]
Epochs = Annotated[float, Meta(ge=0.0, le=1e15)]
Moment = Annotated[float, Meta(ge=-6e10, le=6e10)]
"""Unix seconds, in the years 69 to 3871, which every calendar function takes."""
Place = Annotated[float, Meta(ge=-7e10, le=7e10)]
"""Unix seconds; with room behind every moment, see ``creation_order``."""
Span = Annotated[float, Meta(ge=0.0, le=1e12)]
"""Seconds."""


class MisfitError(ValueError):
    """A value that does not fit; the message is the end of a sentence about its file."""


class _Cleaning:
    """A walk over the values of one file, which counts them."""

    def __init__(self) -> None:
        self.left = _VALUES

    def value(self, value: Any, where: str, depth: int) -> Any:
        """A clean copy of a value; ``where`` is its dotted name."""
        kind = type(value)
        if kind is str:
            return plain_text(value, TEXT_LIMIT)
        if kind is int and not -_INTEGER < value < _INTEGER:
            raise MisfitError(f"{where} has too many digits")
        if kind is not dict and kind is not list:
            return value
        self.left -= len(value)
        if self.left < 0:
            raise MisfitError(f"it holds more than {_VALUES:,} values")
        if depth == _DEPTH:
            raise MisfitError(f"it holds more than {_DEPTH} tables and lists within each other")
        if kind is list:
            return [self.value(item, where, depth + 1) for item in value]
        out = {}
        for key, item in value.items():
            name = key
            if len(key) > KEY_LIMIT or not key.isprintable():
                name = plain_text(key, KEY_LIMIT)
            # Most values: thousands of records are read at a time, and each call would be felt.
            if type(item) in _HARMLESS:
                out[name] = item
            else:
                out[name] = self.value(item, f"{where}.{name}" if where else name, depth + 1)
        return out


def cleaned(payload: Any) -> Any:
    """The JSON of a file with clean texts of bounded length.

    Args:
        payload: as decoded; left as it is.

    Raises:
        MisfitError: when a number is too large, or the whole too large or too deep.
    """
    return _Cleaning().value(payload, "", 0)


class _Part(Struct):
    """What is relied on in a part of ``Record.data``."""

    step: Count = 0


def check_record(payload: dict[str, Any]) -> None:
    """Check what the types of ``Record`` leave open, and cut texts to the length of their field.

    Args:
        payload: a cleaned record of the present schema, of whatever types; changed in place.

    Raises:
        MisfitError: with the name of the field at fault.
    """
    for name, limit in _LIMITS.items():
        if isinstance(payload.get(name), str):
            payload[name] = payload[name][:limit]
    parent = payload.get("parent")
    # It becomes part of a path, which must stay within the folder of the runs.
    if isinstance(parent, str) and ("/" in parent or parent.startswith(".") or len(parent) > 255):
        raise MisfitError("parent is no id of a run")
    checkpoint = payload.get("checkpoint", "")
    if not isinstance(checkpoint, str) or not _CHECKPOINT.fullmatch(checkpoint):
        raise MisfitError("checkpoint is no checkpoint of a run")
    kind, config = payload.get("kind"), payload.get("config")
    if isinstance(kind, str) and isinstance(config, dict):
        wrong = unusable_setting(kind, flat_config(kind, config))
        if wrong:
            raise MisfitError(f"config: {wrong}")
    try:
        msgspec.convert(payload.get("data", []), list[_Part])
    except msgspec.ValidationError as error:
        raise MisfitError(f"data: {error}") from None
