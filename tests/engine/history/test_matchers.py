"""Comparisons of the filter language, one by one."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.history.matchers import comparison, text_search

from .runs_to_filter import entry


@pytest.mark.parametrize(
    ("key", "sign", "text", "matches"),
    [
        ("step", "<", "21", True),
        ("step", "<", "20", False),
        ("step", ">=", "2_0", True),
        ("progress", "=", "20%", True),
        ("name", ":", "LARGE*", True),
        ("name", ":", "[l]arge*", False),
        ("name", "~", "queue", True),
        ("name", "=", "large", False),
        ("tag", "=", "keep", True),
        ("tag", "!=", "keep", False),
        ("checkpoint_step", "=", "3", False),
        ("checkpoint_step", "!=", "3", True),
    ],
)
def test_a_comparison_says_whether_a_run_matches(
    key: str, sign: str, text: str, matches: bool
) -> None:
    run = entry("k7m2qx", name="Large queue", step=20, total_steps=100, tags=("keep", "paper"))
    assert comparison(key, sign, text, ())(run) is matches


@pytest.mark.parametrize(
    ("key", "wanted"), [("created", "a date"), ("age", "a time such as 30m"), ("step", "a number")]
)
def test_an_order_needs_what_can_be_ordered(key: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"needs {wanted}"):
        comparison(key, "<", "soon", ())


def test_a_word_is_looked_for_in_what_people_say_of_a_run() -> None:
    run = entry("k7m2qx", name="Large", tags=("keep",), note="for the table")
    assert all(text_search(text)(run) for text in ("LARGE", "k7m", "kee", "table"))
    assert not text_search("pretrain")(run)
