"""Numbers and times in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from moco_tui.present import fmt


def test_a_share_of_the_labels_keeps_its_digits() -> None:
    shares = (0.1, 0.125, 0.001, 1 / 3, 1.0, None)
    assert [fmt.label_fraction(share) for share in shares] == [
        *("10 %", "12.5 %", "0.1 %", "33.3 %", "100 %", "–")
    ]


@given(st.text("abc 日●", max_size=40), st.integers(0, 45))
def test_what_is_cut_in_the_middle_keeps_both_ends(text: str, width: int) -> None:
    shown = fmt.middle(text, width)
    assert cell_len(shown) <= width
    if cell_len(text) <= width:
        assert shown == text
    elif width >= 7:
        head, _, tail = shown.partition("…")
        assert text.startswith(head.rstrip())
        assert text.endswith(tail)
        assert tail


@given(st.text("ab 日●", max_size=80), st.integers(1, 30))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int) -> None:
    lines = fmt.wrapped(text, width)
    assert all(cell_len(line) <= max(width, 2) for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line in lines[:-1]:
        assert line == line.rstrip()
    words = text.split()
    if all(cell_len(word) <= width for word in words):
        assert " ".join(lines).split() == words, "no word is parted"


def test_how_long_ago() -> None:
    assert [fmt.ago(s) for s in (0.5, 42, 7300, None)] == ["now", "42 s ago", "2 h ago", "–"]


def test_a_bar() -> None:
    assert fmt.bar(2, 5, ascii_only=True) == "##..."
    assert fmt.bar(2, 5, ascii_only=False) == "━━───"


def test_what_counts_as_a_number() -> None:
    assert [fmt.measured(item) for item in (1, 2.5, True, "3", None)] == [1.0, 2.5, *[None] * 3]


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"a": ["x", "y"]}, '{"a" = ["x", "y"]}'),
        ({"a": 5, "b": None, "c": [1, ["d"]]}, '{"a" = 5, "b" = None, "c" = [1, ["d"]]}'),
        ({"a": {"b": "c"}}, '{"a" = {"b" = "c"}}'),
    ],
)
def test_tables_of_any_values_are_shown(item: object, text: str) -> None:
    """A record may hold any: of another version, or edited."""
    assert fmt.value(item) == text


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (-3.2e8, "now"),  # from a clock that was ten years ahead
        (-3600.0, "now"),
        (1.7e9, "19675 d"),  # from 1970
        (float("nan"), "–"),
        (float("inf"), "–"),
        (None, "–"),
    ],
)
def test_an_age_by_a_clock_that_was_set_is_shown_soberly(
    seconds: float | None, wanted: str
) -> None:
    assert fmt.age(seconds) == wanted


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1024**2 - 1, "1 MiB"),
        (5 * 1024**2, "5 MiB"),
        (1.5 * 1024**3, "1.5 GiB"),
        (1024**4 - 1, "1.0 TiB"),
        (2.5 * 1024**4, "2.5 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
        (None, "–"),
    ],
)
def test_a_size_has_the_unit_that_keeps_it_short(amount: float | None, wanted: str) -> None:
    assert fmt.size(amount) == wanted
