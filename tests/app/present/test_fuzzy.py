"""How typed letters fit a text."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from moco_tui.present.fuzzy import fit

LETTERS = st.text("ab c.", max_size=8)


def score(typed: str, text: str) -> float:
    found = fit(typed.split(), text)
    assert found is not None, (typed, text)
    return found.score


def test_better_fits_have_higher_scores() -> None:
    for better, worse in itertools.pairwise(
        [
            "queue",
            "queue size",
            "large queue",
            "largequeue",
            "quite unlike every unit",
            "qxuxexuxe",
        ]
    ):
        assert score("queue", better) > score("queue", worse), (better, worse)


def test_words_may_stand_in_any_order_and_all_of_them_count() -> None:
    assert fit(["size", "queue"], "queue size") is not None
    assert fit(["queue", "sizes"], "queue size") is None
    assert fit(["q"], "momentum") is None


def test_the_places_are_those_of_the_letters() -> None:
    found = fit(["qsz"], "moco.queue_size")
    assert found is not None
    assert [found.places[0], found.places[-1]] == [5, 13]
    whole = fit(["a"], "banana apple")
    assert whole is not None
    assert whole.places == (7,), "at the beginning of a word, where there is one"


@given(LETTERS, LETTERS)
def test_it_fits_exactly_when_each_word_is_a_subsequence(typed: str, text: str) -> None:
    words = typed.split()

    def has(word: str) -> bool:
        letters = iter(text)
        return all(letter in letters for letter in word)

    found = fit(words, text)
    assert (found is not None) == all(has(word) for word in words)
    if found is not None and words:
        assert 0 < found.score <= 1
        assert list(found.places) == sorted(set(found.places))
        assert {text[at] for at in found.places} == set("".join(words))
