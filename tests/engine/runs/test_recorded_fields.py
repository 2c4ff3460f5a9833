"""Texts are cleaned and sizes bounded of everything that a file of a run holds."""

from __future__ import annotations

import pytest

from engine.runs.recorded_fields import KEY_LIMIT, TEXT_LIMIT, MisfitError, check_record, cleaned


def test_texts_and_names_are_cleaned_and_cut() -> None:
    found = cleaned({"a\x1b": ["b\x9bc\u202ed\ne", {"f" * 500: "g" * 20_000}], "h": 1.5})
    (long,) = found["a?"][1].items()
    assert found["a?"][0] == "b?c?d e"
    assert (len(long[0]), len(long[1])) == (KEY_LIMIT, TEXT_LIMIT)
    assert found["h"] == 1.5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {"b": 10**400}}, "a.b has too many digits"),
        ({"a": [2**63]}, "a has too many digits"),
        ([0] * 250_001, "more than 250,000 values"),
        ([[0] * 1000] * 300, "more than 250,000 values"),
    ],
)
def test_what_is_too_large_is_named(value: object, words: str) -> None:
    with pytest.raises(MisfitError, match=words):
        cleaned(value)


def test_what_is_too_deep_is_refused() -> None:
    value: object = 1
    for _ in range(32):
        value = [value]
    assert cleaned(value) == value
    with pytest.raises(MisfitError, match="within each other"):
        cleaned([value])


@pytest.mark.parametrize("parent", ["../x", "/etc", ".trash", "a/b", "x" * 300])
def test_a_parent_stays_in_the_folder_of_the_runs(parent: str) -> None:
    with pytest.raises(MisfitError, match="parent is no id"):
        check_record({"parent": parent})
