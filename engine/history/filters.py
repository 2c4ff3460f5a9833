"""The filter language of the runs: ``kind:probe knn>60 (queue_size=4096 or tag:keep)``.

    filter     = either { "or" either }
    either     = term { ["and"] term }
    term       = "not" term | "(" filter ")" | comparison | text
    comparison = key operator value
    operator   = ":" | "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"

A key is a column (``kind``, ``status``, ``tag``, ``age`` ...), a setting of the configuration
(``moco.queue_size`` or its tail ``queue_size``) or a metric (``knn/top1``, or ``knn``; its last
value; ``best.knn`` is the best one). ``:`` and ``=`` compare without regard to case; ``:`` also
takes a part between ``*``; ``~`` finds a part anywhere. A run that lacks the value matches no
comparison but ``!=``. A bare word is looked for in name, id, tags and note. Texts with spaces,
brackets or operators stand in quotes.
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from engine.config.renamed import new_value, say_renamed
from engine.errors import ConfigError
from engine.history.entry import Entry
from engine.history.keys import (
    COLUMNS,
    SPANS,
    TIMES,
    metric_names,
    resolve,
    shown,
    sort_entries,
)

__all__ = [
    "COLUMNS",
    "Matcher",
    "metric_names",
    "parse_filter",
    "sort_entries",
]

Matcher = Callable[[Entry], bool]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<bracket>[()])
      | (?P<operator>==|!=|<=|>=|[:=<>~])
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | '(?P<single>(?:[^'\\]|\\.)*)'
      | (?P<word>(?:(?!!=)[^\s()"':=<>~])+)
      | (?P<wrong>\S)
    )""",
    re.VERBOSE,
)
_MAX_LENGTH = 10_000
_MAX_DEPTH = 100


class _Token(NamedTuple):
    kind: str  # "bracket", "operator", "word" or "quoted"
    text: str
    end: int
    begin: int


# --------------------------------------------------------------------------------------------
# Values


def _number(text: str) -> float | None:
    try:
        value = float(text.removesuffix("%").replace("_", ""))
    except ValueError:
        return None
    return value


def _moment(text: str) -> float | None:
    """Unix seconds of a local date or time (``2026-03-01``, ``2026-03-01T12:00``)."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _span(text: str) -> float | None:
    """Seconds of a span of time: ``90``, ``30m``, ``12h``, ``3d``, ``2w``."""
    number = _number(text[:-1]) if text[-1:] in _UNITS else None
    return _number(text) if number is None else number * _UNITS[text[-1]]


def _same(value: Any, text: str, number: float | None) -> bool:
    if isinstance(value, bool):
        return text.lower() in (("true", "on", "yes") if value else ("false", "off", "no"))
    if isinstance(value, int | float):
        return number is not None and _close(value, number)
    if isinstance(value, list | tuple):
        return any(_same(item, text, number) for item in value)
    if isinstance(value, dict):
        return any(_same(item, text, number) for item in value)
    return str(value).casefold() == text.casefold()


def _close(value: float, number: float) -> bool:
    # Both were typed or printed in decimal; 0.1 + 0.2 = 0.3 is meant to hold.
    return (
        value == number
        or (math.isnan(value) and math.isnan(number))
        or math.isclose(value, number, rel_tol=1e-9)
    )


def _contains(value: Any, text: str) -> bool:
    if isinstance(value, list | tuple | dict):
        return any(_contains(item, text) for item in value)
    return text.casefold() in str(value).casefold()


def _compare(key: str, sign: str, text: str, metrics: Iterable[str]) -> Matcher:
    name, values = resolve(key, metrics)
    now = new_value(name, text)
    if now != text:
        say_renamed(f"{key}{sign}{shown(text)}", shown(now))
        text = now
    number = _moment(text) if name in TIMES else _span(text) if name in SPANS else _number(text)
    if sign in _ORDER:
        if number is None:
            what = (
                "a date such as 2026-03-01"
                if name in TIMES
                else "a time such as 30m, 12h or 3d"
                if name in SPANS
                else "a number"
            )
            raise ConfigError(f"The filter {shown(key + sign + text)} needs {what} after {sign}.")
        limit, ordered = number, _ORDER[sign]

        def in_order(entry: Entry) -> bool:
            return any(
                isinstance(v, int | float) and not isinstance(v, bool) and ordered(v, limit)
                for v in values(entry)
            )

        return in_order
    if sign == "~":
        return lambda entry: any(_contains(value, text) for value in values(entry))
    if sign == ":" and "*" in text:
        pattern = re.compile(fnmatch.translate(text.replace("[", "[[]").casefold()))

        def like(entry: Entry) -> bool:
            return any(pattern.match(str(value).casefold()) for value in values(entry))

        return like

    def equal(entry: Entry) -> bool:
        return any(_same(value, text, number) for value in values(entry))

    return equal if sign != "!=" else lambda entry: not equal(entry)


def _word(text: str) -> Matcher:
    wanted = text.casefold()
    return lambda e: any(wanted in t.casefold() for t in (e.name, e.id, *e.tags, e.note))


# --------------------------------------------------------------------------------------------
# Grammar


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    while match := _TOKEN.match(text, at):
        at = match.end()
        kind = str(match.lastgroup)
        found = match[kind]
        if kind == "wrong":
            what = "a quote that is not closed" if found in "\"'" else f"a {found} out of place"
            raise ConfigError(f"The filter holds {what} at character {match.start(kind) + 1}.")
        begin = match.start(kind)
        if kind in ("double", "single"):
            kind, found, begin = "quoted", re.sub(r"\\(.)", r"\1", found), begin - 1
        tokens.append(_Token(kind, found, at, begin))
    return tokens


class _Parser:
    def __init__(self, text: str, metrics: Iterable[str]) -> None:
        self._tokens = _tokens(text)
        self._metrics = frozenset(metrics)
        self._at = 0
        self._depth = 0

    def _peek(self, ahead: int = 0) -> _Token | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def _is(self, kind: str, text: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == kind and token.text.lower() == text

    def parse(self) -> Matcher:
        if not self._tokens:
            return lambda _: True
        matcher = self._or()
        token = self._peek()
        if token is not None:  # only a bracket can be left
            raise ConfigError("The filter closes a bracket that it did not open.")
        return matcher

    def _or(self) -> Matcher:
        terms = [self._and()]
        while self._is("word", "or"):
            self._at += 1
            terms.append(self._and())
        return terms[0] if len(terms) == 1 else lambda e: any(term(e) for term in terms)

    def _and(self) -> Matcher:
        terms = [self._not()]
        while (
            self._peek() is not None and not self._is("word", "or") and not self._is("bracket", ")")
        ):
            if self._is("word", "and"):
                self._at += 1
            terms.append(self._not())
        return terms[0] if len(terms) == 1 else lambda e: all(term(e) for term in terms)

    def _not(self) -> Matcher:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ConfigError(f"The filter is nested more than {_MAX_DEPTH} deep.")
        try:
            if self._is("word", "not") and not self._compares():
                self._at += 1
                term = self._not()
                return lambda entry: not term(entry)
            return self._atom()
        finally:
            self._depth -= 1

    def _compares(self) -> bool:
        following = self._peek(1)
        return following is not None and following.kind == "operator"

    def _atom(self) -> Matcher:
        token = self._peek()
        if token is None:
            raise ConfigError("The filter ends where something should follow.")
        if token.kind == "bracket" and token.text == "(":
            self._at += 1
            inner = self._or()
            if not self._is("bracket", ")"):
                raise ConfigError("The filter opens a bracket that it does not close.")
            self._at += 1
            return inner
        if token.kind in ("bracket", "operator"):
            raise ConfigError(
                f"The filter has {token.text} at character {token.begin + 1}, where a key or a "
                "word should stand."
            )
        if token.kind == "word" and self._compares():
            return self._comparison(token)
        if token.kind == "word" and token.text.lower() in ("and", "or"):
            raise ConfigError(f"The filter has nothing before {token.text}.")
        self._at += 1
        return _word(token.text)

    def _comparison(self, key: _Token) -> Matcher:
        sign = self._peek(1)
        first = self._peek(2)
        assert sign is not None
        if first is None or first.kind == "bracket":
            raise ConfigError(
                f"The filter has nothing to compare with after {key.text}{sign.text}."
            )
        # A value may hold operators of its own (folder:/data, 12:30) if nothing parts them.
        text, end, taken = first.text, first.end, 3
        while first.kind != "quoted":
            token = self._peek(taken)
            if token is None or token.begin != end or token.kind not in ("word", "operator"):
                break
            text, end, taken = text + token.text, token.end, taken + 1
        if first.kind == "operator" and taken == 3:
            raise ConfigError(f"The filter has two operators after {key.text}.")
        self._at += taken
        name = "==" if sign.text == "==" else sign.text
        return _compare(key.text, "=" if name == "==" else name, text, self._metrics)


def parse_filter(text: str, *, metrics: Iterable[str] = ()) -> Matcher:
    """What tells the runs that a filter lets through.

    Args:
        text: see the head of this module; an empty one lets all through.
        metrics: names of metrics that runs have, beside the usual ones.

    Raises:
        ConfigError: one sentence on what cannot be understood.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(f"The filter is longer than {_MAX_LENGTH} characters.")
    return _Parser(text, metrics).parse()
