"""A curve in one row of characters, against plain re-derivations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moco_tui.charts.spark import spark

BLOCKS = "▁▂▃▄▅▆▇█"


def test_a_rising_line_takes_every_height_once() -> None:
    assert spark(range(8), range(8), 8, end=8, ascii_only=False) == BLOCKS
    assert spark(range(8), range(7, -1, -1), 8, end=8, ascii_only=False) == BLOCKS[::-1]


def test_a_cell_is_the_mean_of_its_values() -> None:
    # Cells: 0 and 4 (mean 2), 8 and 0 (mean 4), 0.
    assert spark([0, 1, 2, 3, 4], [0, 4, 8, 0, 0], 3, end=6, ascii_only=False) == "▅█▁"


def test_few_points_make_a_line_and_the_rest_stays_empty() -> None:
    assert spark([2, 5], [1.0, 2.0], 10, end=10, ascii_only=False) == "  ▁▁▁█    "


def test_a_level_is_in_the_middle() -> None:
    assert spark([0, 9], [3.0, 3.0], 10, end=9, ascii_only=False) == "▄" * 10


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_empty(value: float) -> None:
    assert spark([0, 1, 2], [1.0, value, 2.0], 3, end=3, ascii_only=False) == "▁ █"
    assert spark([0, 1], [value, value], 4, end=3, ascii_only=False) == "    "


def test_the_largest_floats_have_a_range_too() -> None:
    assert spark([0, 1], [-1.7e308, 1.7e308], 2, end=2, ascii_only=False) == "▁█"


def test_without_points_or_room() -> None:
    assert spark([], [], 3, end=0, ascii_only=False) == "   "
    assert spark([0], [1.0], 0, end=1, ascii_only=False) == ""
    assert len(spark([0], [1.0], 5, end=0, ascii_only=False)) == 5


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50),
    st.integers(1, 40),
    st.booleans(),
)
def test_any_values_fill_the_width(values: list[float], width: int, ascii_only: bool) -> None:
    text = spark(range(len(values)), values, width, end=len(values), ascii_only=ascii_only)
    assert len(text) == width
    assert text.isascii() or not ascii_only
