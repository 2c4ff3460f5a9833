"""The comparisons of the filter language: values of a run with the text of a person."""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from engine.config.renamed import new_value, warn_renamed
from engine.errors import ConfigError
from engine.history.entry import Entry
from engine.history.keys import AMOUNTS, SPANS, TIMES, Getter, Key, resolve
from engine.history.units import bytes_of, number_of, seconds_of
from engine.text import shorten

Matcher = Callable[[Entry], bool]
"""Whether a filter lets a run through."""

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def comparison(key: str, sign: str, text: str, metrics: Iterable[str]) -> Matcher:
    """The matcher of ``key sign text``.

    Args:
        key: a column, a setting or a metric.
        sign: one of ``: = != < <= > >= ~``.
        text: what to compare with.
        metrics: names of metrics that runs have, beside the usual ones.

    Raises:
        ConfigError: when no run can have the key, or the text is no number where one is needed.
    """
    found = resolve(key, metrics)
    name, values = found.name, found.values
    now = new_value(name, text)
    if now != text:
        warn_renamed(f"{key}{sign}{shorten(text)}", shorten(now))
        text = now
    number = _parse(found, text)
    if sign in _ORDER:
        if number is None:
            raise ConfigError(
                f"The filter {shorten(key + sign + text)} needs {_wanted(found, text)} "
                f"after {sign}."
            )
        return _in_order(values, _ORDER[sign], number)
    if sign == "~":
        return lambda entry: any(_contains(value, text) for value in values(entry))
    if sign == ":" and "*" in text:
        return _like(values, text)
    # != is the opposite of =, so a run that lacks the value matches it, as does one with several of
    # which none is equal.
    equal = _equal(values, text, number, _decimals(text) if found.measured else None)
    return equal if sign != "!=" else lambda entry: not equal(entry)


def text_search(text: str) -> Matcher:
    """The matcher of a bare word: in name, id, tags or note, without regard to case."""
    wanted = text.casefold()
    return lambda e: any(wanted in t.casefold() for t in (e.name, e.id, *e.tags, e.note))


# Matchers of one sign each: a run matches when any of the values does.


def _in_order(values: Getter, ordered: Callable[[Any, Any], bool], limit: float) -> Matcher:
    def matches(entry: Entry) -> bool:
        return any(
            # A bool is an int to Python, but symmetric>0 would be no question.
            isinstance(v, int | float) and not isinstance(v, bool) and ordered(v, limit)
            for v in values(entry)
        )

    return matches


def _like(values: Getter, text: str) -> Matcher:
    # Only * is special; fnmatch would take [ as the beginning of a set of characters.
    pattern = re.compile(fnmatch.translate(text.replace("[", "[[]").casefold()))
    return lambda e: any(pattern.match(str(value).casefold()) for value in values(e))


def _equal(values: Getter, text: str, number: float | None, decimals: int | None) -> Matcher:
    def matches(entry: Entry) -> bool:
        return any(
            _same(value, text, number)
            # A table shows 32.2 of 32.23, so top1=32.2 has to find it.
            or (number is not None and decimals is not None and _rounds(value, number, decimals))
            for value in values(entry)
        )

    return matches


# Reading the text


def _parse(key: Key, text: str) -> float | None:
    """The text as a number in the key's unit: unix seconds, seconds, per cent, or a plain one."""
    if key.name in TIMES:
        return _unix_seconds(text)
    if key.name in SPANS:
        return seconds_of(text)
    if key.name in AMOUNTS:
        return bytes_of(text)
    bare = text.removesuffix("%")
    number = number_of(bare.rstrip()) if bare != text else number_of(text)
    if bare == text or number is None:
        return number
    if key.percent is None:
        return None
    # Divided, since 57 * 0.01 is not 0.57.
    return number / 100.0 if key.percent == 0.01 else number


def _wanted(key: Key, text: str) -> str:
    if key.name in TIMES:
        return "a date such as 2026-03-01"
    if key.name in SPANS:
        return "a time such as 30m, 12h or 3d"
    if key.name in AMOUNTS:
        return "an amount such as 500MiB or 2GiB"
    return "a number without %" if text.endswith("%") and key.percent is None else "a number"


def _decimals(text: str) -> int | None:
    """Digits behind the point of a plain decimal number; None for any other text."""
    found = re.fullmatch(r"[+-]?[\d_]*(?:\.(\d*))?\s*%?", text)
    return len(found[1] or "") if found else None


def _unix_seconds(text: str) -> float | None:
    """Unix seconds of a local date or time (``2026-03-01``, ``2026-03-01T12:00``)."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


# Comparing one value


def _same(value: Any, text: str, number: float | None) -> bool:
    if isinstance(value, bool):
        return text.lower() in (("true", "on", "yes") if value else ("false", "off", "no"))
    if isinstance(value, int | float):
        return number is not None and _close(value, number)
    if isinstance(value, list | tuple | dict):  # of a dict the keys
        return any(_same(item, text, number) for item in value)
    return str(value).casefold() == text.casefold()


def _close(value: float, number: float) -> bool:
    # One was computed, the other typed in decimal: lr=0.3 has to find 0.1 + 0.2.
    return (
        value == number
        or (math.isnan(value) and math.isnan(number))
        or math.isclose(value, number, rel_tol=1e-9)
    )


def _rounds(value: Any, number: float, decimals: int) -> bool:
    """Whether a measured value is shown as a number when it has so many decimals."""
    measured = isinstance(value, float) and math.isfinite(value)
    return measured and float(f"{value:.{decimals}f}") == number


def _contains(value: Any, text: str) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(_contains(item, text) for item in value)
    return text.casefold() in str(value).casefold()
