"""Choosing by a part of a name, and another order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moco_tui.present.ordered_choice import has_words, moved


@given(st.lists(st.integers(0, 9), unique=True, min_size=1), st.data(), st.integers(-9, 9))
def test_a_chart_is_moved_and_the_others_keep_their_order(
    numbers: list[int], data: st.DataObject, by: int
) -> None:
    keys = [str(number) for number in numbers]
    key = data.draw(st.sampled_from(keys))
    found = moved(keys, key, by)
    assert [k for k in found if k != key] == [k for k in keys if k != key]
    assert found.index(key) == max(0, min(len(keys) - 1, keys.index(key) + by))
    assert moved(keys, "none", by) == keys


@pytest.mark.parametrize(
    ("typed", "found"),
    [("", True), ("  ", True), ("QUEUE", True), ("size queue", True), ("queue nonsense", False)],
)
def test_every_word_that_was_typed_is_found_in_any_order(typed: str, found: bool) -> None:
    assert has_words(typed, "moco.queue_size keys in the Queue") is found
