"""Choosing some of many by typing a part of their names, and putting them in order."""

from __future__ import annotations

from collections.abc import Sequence


def has_words(typed: str, text: str) -> bool:
    """Whether every word that was typed stands in a text, in any order and case."""
    return all(word in text.lower() for word in typed.lower().split())


def moved(keys: Sequence[str], key: str, by: int) -> list[str]:
    """Keys in another order: one of them so many places further on, as far as it goes."""
    rest = [other for other in keys if other != key]
    if len(rest) == len(keys):
        return list(keys)
    at = max(min(list(keys).index(key) + by, len(rest)), 0)
    return [*rest[:at], key, *rest[at:]]
