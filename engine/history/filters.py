"""The filter language of the runs: ``kind:probe knn>60 (queue_size=4096 or tag:keep)``.

    filter     = either { "or" either }
    either     = term { ["and"] term }
    term       = "not" term | "(" filter ")" | comparison | text
    comparison = key operator value
    operator   = ":" | "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"

A key is a column (every heading of a table: ``kind``, ``state``, ``K``, ``top1``, ``best``,
``done``; also ``created``, ``encoder_step`` ...), a setting of the configuration
(``moco.queue_size`` or its tail ``queue_size``) or a metric (``knn/top1``, or ``knn``; its last
value; ``best.knn`` is the best one; of a probe ``test_top1`` is that of its
encoder). ``:`` and ``=`` compare without regard to case; ``:`` also
takes a part between ``*``; ``~`` finds a part anywhere. A run that lacks the value matches no
comparison but ``!=``. A bare word is looked for in name, id, tags and note. Texts with spaces,
brackets or operators stand in quotes.

A number counts in the unit of its key, and a column in the unit that it shows: ``top1>30`` and
``top1>30%`` are the same, and ``top1>0.3`` is 0.3 %. A setting that is a share counts from 0 to 1,
as it is set: ``label_fraction<=0.2`` and ``label_fraction<=20%`` are the same. A measured number
equals what it rounds to: ``top1=32.2`` finds 32.23.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from engine.errors import ConfigError
from engine.history.keys import COLUMNS, metric_names, sort_entries
from engine.history.matchers import Matcher, comparison, text_search

__all__ = [
    "COLUMNS",
    "Matcher",
    "metric_names",
    "parse_filter",
    "sort_entries",
]

# Alternatives in order: longer operators first; a word may hold "!" but not "!=", so that
# kind!=probe is three tokens; "wrong" takes what is left: a quote without its partner.
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
_MAX_LENGTH = 10_000  # characters
_MAX_DEPTH = 100  # far below Python's limit of recursion, of which each level takes four calls


class _Token(NamedTuple):
    """A piece of a filter, and where it begins and ends in it (in characters, from 0)."""

    kind: str  # "bracket", "operator", "word" or "quoted"
    text: str
    end: int
    begin: int


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
        # The group lies within the quotes; begin counts from the opening one, as end does.
        if kind in ("double", "single"):
            kind, found, begin = "quoted", re.sub(r"\\(.)", r"\1", found), begin - 1
        tokens.append(_Token(kind, found, at, begin))
    return tokens


class _Parser:
    """Recursive descent through the grammar above, one method a rule.

    Args:
        text: the filter.
        metrics: names of metrics that runs have, beside the usual ones.
    """

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
            return lambda _: True  # an empty filter lets every run through
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
            # "not:x" is a key called not, as is "and=1" below: it gets the message for keys.
            if self._is("word", "not") and not self._compares():
                self._at += 1
                term = self._not()
                return lambda entry: not term(entry)
            return self._atom()
        finally:
            self._depth -= 1

    def _compares(self) -> bool:
        """True when an operator follows the next token, which is then a key."""
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
        return text_search(token.text)

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
        unit = self._peek(taken)  # "32.2 %", as tables show it
        if unit is not None and (unit.kind, unit.text) == ("word", "%"):
            text, taken = text + "%", taken + 1
        self._at += taken
        return comparison(key.text, "=" if sign.text == "==" else sign.text, text, self._metrics)


def parse_filter(text: str, *, metrics: Iterable[str] = ()) -> Matcher:
    """The predicate that a filter stands for.

    Args:
        text: in the language of this module's docstring; an empty one lets all runs through.
        metrics: names of metrics that runs have, beside the usual ones.

    Raises:
        ConfigError: one sentence on what cannot be understood.
    """
    if len(text) > _MAX_LENGTH:
        raise ConfigError(f"The filter is longer than {_MAX_LENGTH} characters.")
    return _Parser(text, metrics).parse()
