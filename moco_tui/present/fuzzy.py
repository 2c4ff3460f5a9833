"""How well a few typed letters fit a text, and which of its letters they are."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Fit(Struct, frozen=True):
    """How a text fits what was typed.

    Attributes:
        score: in (0, 1]; 1 for the text itself.
        places: indices of the letters that were typed, ascending.
    """

    score: float
    places: tuple[int, ...]


def fit(words: Sequence[str], text: str) -> Fit | None:
    """How a text fits words; None when it lacks one of them.

    Each word may stand anywhere in the text: as a whole, or as its letters in their order. What
    stands at the beginning of the text or of a word fits better, and a short text than a long one.

    Args:
        words: in lower case, none empty.
        text: in lower case.
    """
    total, places = 0.0, set[int]()
    for word in words:
        found = _fit_word(word, text)
        if found is None:
            return None
        total += found.score
        places.update(found.places)
    length = max(len(text), 1)
    score = total / max(len(words), 1) * (0.9 + 0.1 * min(len(places) / length, 1.0))
    return Fit(score, tuple(sorted(places)))


def _fit_word(word: str, text: str) -> Fit | None:
    at = text.find(word)
    if at > 0 and not _begins_word(text, at):
        better = text.find(f" {word}") + 1  # the same at the beginning of a later word
        at = better or at
    if at >= 0:
        score = 1.0 if at == 0 else 0.95 if _begins_word(text, at) else 0.8
        return Fit(score, tuple(range(at, at + len(word))))
    places = _letters(word, text)
    if places is None:
        return None
    begun = sum(_begins_word(text, at) for at in places) / len(places)
    close = len(places) / (places[-1] - places[0] + 1)
    return Fit(0.2 + 0.3 * begun + 0.2 * close, places)


def _letters(word: str, text: str) -> tuple[int, ...] | None:
    """Where the letters of a word stand in a text, in their order; None when one is missing."""
    places = []
    at = -1
    for letter in word:
        at = text.find(letter, at + 1)
        if at < 0:
            return None
        places.append(at)
    return tuple(places)


def _begins_word(text: str, at: int) -> bool:
    return at == 0 or not text[at - 1].isalnum()
