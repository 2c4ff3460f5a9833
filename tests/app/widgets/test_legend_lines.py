"""The names of curves side by side, and how many had no room."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len
from rich.style import Style

from moco_tui.widgets.legend_lines import legend_lines


def texts(names: list[str], width: int, most: int) -> list[str]:
    lines = legend_lines([(name, Style()) for name in names], width, most, Style())
    return ["".join(segment.text for segment in line) for line in lines]


def test_what_fits_stands_in_order_and_nothing_is_said() -> None:
    assert texts([" a one ", " b two ", " c 3 "], 14, 2) == [" a one  b two ", " c 3          "]


@pytest.mark.parametrize("width", [9, 12, 17, 20, 31, 47])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_every_curve_is_shown_or_counted(width: int, most: int) -> None:
    names = [
        f" {mark} {name} "
        for mark, name in zip("abcdefgh", ["lr", "loss", "kNN", "長い"] * 2, strict=True)
    ]
    lines = texts(names, width, most)
    assert len(lines) <= most
    assert all(cell_len(line) == width for line in lines)
    whole = "".join(lines)
    shown = [name for name in names if name in whole]
    assert shown == names[: len(shown)]
    told = re.search(r"\+(\d+) more", whole)
    left = int(told[1]) if told else 0
    assert len(shown) + left == len(names)


def test_a_name_wider_than_the_line_is_cut() -> None:
    assert texts([" a very long name "], 10, 1) == [" a very l…"]
