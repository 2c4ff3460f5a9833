"""Accuracies with bars: what is drawn is as long as it is large, and fits where it stands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from moco_tui.present.class_bars import class_bars
from moco_tui.present.lines import Line
from moco_tui.present.probe_row import chosen_words, more_parts, share_bar

CLASSES = {"airplane": 80.0, "cat": 20.0, "dog": None}
ROWS: list[dict[str, Any]] = [
    {"source": "pretrained", "per_class": CLASSES, "top1": 60.0},
    {"source": "random-init", "per_class": {"airplane": 40.0, "cat": 10.0}, "top1": 46.0},
]


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


@given(st.floats(-1, 2), st.integers(0, 80))
def test_a_bar_is_as_long_as_its_share(share: float, cells: int) -> None:
    drawn = share_bar(share, cells)
    assert len(drawn) == cells
    full = drawn.count("━")
    assert drawn == "━" * full + " " * (cells - full)
    assert abs(full - max(min(share, 1), 0) * cells) <= 0.5


@pytest.mark.parametrize("height", [3, 6, 8, 40])
@pytest.mark.parametrize("width", [30, 60, 120])
def test_every_number_is_there_in_lines_that_fit(width: int, height: int) -> None:
    lines = class_bars(ROWS, width, height)
    whole = "\n".join(map(text, lines))
    for value in ("80.0 %", "20.0 %", "40.0 %", "10.0 %"):
        assert value in whole
    assert all(cell_len(text(line)) <= width for line in lines)
    assert len(lines) <= max(height, 4), "a class a line at least, and the heads"
    assert ("━" in whole) == (width > 30)


def test_bars_are_in_proportion() -> None:
    lines = class_bars(ROWS[:1], 111, 20)
    lengths = [text(line).count("━") for line in lines[1:] if text(line)]
    assert lengths[0] == pytest.approx(4 * lengths[1], abs=2)
    assert lengths[2] == 0, "a class that does not occur has no bar"


@pytest.mark.parametrize("rows", [[], [{"source": "x"}], [{"per_class": 5}, {"per_class": {}}]])
def test_a_result_without_classes_has_no_line(rows: list[dict[str, Any]]) -> None:
    assert class_bars(rows, 80, 20) == []


def test_beside_a_row_stand_gain_choice_and_time() -> None:
    row = ROWS[0] | {"seconds": 12.3, "chosen": {"l2": 0.03, "candidates": [1, 2, 3]}}
    shown = text(more_parts(row, [row, ROWS[1]], 23))
    assert "+14.0 pts" in shown
    assert "l2 0.03 of 3" in shown
    assert "12 s" in shown
    assert shown.count("━") == 12  # 60 % of 20
    assert "pts" not in text(more_parts(ROWS[1], ROWS, 0))


@pytest.mark.parametrize("chosen", [None, 5, {"l2": "x"}, {"candidates": [1, 2]}, {"lr": True}])
def test_a_choice_that_cannot_be_read_is_left_out(chosen: Any) -> None:
    assert chosen_words({"chosen": chosen}) == ""
