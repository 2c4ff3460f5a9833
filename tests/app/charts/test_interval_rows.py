"""Rows with intervals stand where their values are, whatever the size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from moco_tui.charts.drawing import Drawing, Ink, Level
from moco_tui.charts.interval_rows import IntervalRow, draw_intervals

ROWS = [
    IntervalRow("all", "●", Ink.CURVE, 47.6, 46.2, 49.0, "47.6 ±1.4"),
    IntervalRow("without rotation", "■", Ink.CURVE + 1, 54.5, 53.7, 55.4, "54.5 ±0.9"),
    IntervalRow("one seed", "▲", Ink.CURVE + 2, 50.0, None, None, "50.0"),
]


def lines(drawing: Drawing) -> list[str]:
    return ["".join(text for text, _ in row) for row in drawing.rows]


def test_marks_and_ends_stand_at_their_values() -> None:
    drawing = draw_intervals(90, 8, ROWS, (), ascii_=False)
    for row, line in zip(ROWS, lines(drawing), strict=False):
        canvas = line[drawing.left : drawing.left + drawing.width]
        assert canvas.index(row.mark) == drawing.cell_of(row.mean)
        if row.low is not None and row.high is not None:
            assert canvas.index("├") == drawing.cell_of(row.low)
            assert canvas.index("┤") == drawing.cell_of(row.high)
            assert set(canvas.strip()) == {"├", "─", "┤", row.mark}
        else:
            assert canvas.strip() == row.mark
        assert line.startswith(f" {row.mark} {row.name}")
        assert line.endswith(row.text)


def test_labels_of_the_axis_stand_at_their_values() -> None:
    drawing = draw_intervals(90, 8, ROWS, (), ascii_=False)
    line, labels = lines(drawing)[3:5]
    assert len(labels.split()) >= 3
    for label in labels.split():
        cell = drawing.left + drawing.cell_of(float(label))
        assert line[cell] == "┬"
        assert labels[cell - len(label) // 2 :].startswith(label)


def test_a_level_on_the_scale_is_drawn_and_one_beside_it_widens_nothing() -> None:
    bare = draw_intervals(90, 8, ROWS, (), ascii_=False)
    drawing = draw_intervals(90, 8, ROWS, (Level(10.0, "a"), Level(51.0, "b")), ascii_=False)
    assert (drawing.low, drawing.high) == (bare.low, bare.high)
    cell = drawing.left + drawing.cell_of(51.0)
    assert [line[cell] for line in lines(drawing)[:3]] == ["┊"] * 3


def test_of_too_many_rows_the_first_are_shown_on_the_scale_of_all() -> None:
    drawing = draw_intervals(90, 4, ROWS, (), ascii_=True)
    assert (drawing.height, len(drawing.rows)) == (2, 4)
    assert drawing.low < 46.2 < 55.4 < drawing.high
    assert all(ord(c) < 128 for line in lines(drawing) for c in line if c not in "●■▲±")


@pytest.mark.parametrize("rows", [[], ROWS])
@given(width=st.integers(0, 200), height=st.integers(0, 12))
def test_every_size_is_filled_exactly(rows: list[IntervalRow], width: int, height: int) -> None:
    drawing = draw_intervals(width, height, rows, (), ascii_=False)
    assert len(drawing.rows) == height
    assert {cell_len(line) for line in lines(drawing)} <= {width}


def test_equal_values_are_drawn_in_the_middle() -> None:
    same = [IntervalRow("a", "●", Ink.CURVE, 50.0, 50.0, 50.0, "50.0")]
    drawing = draw_intervals(60, 5, same, (), ascii_=False)
    assert abs(drawing.cell_of(50.0) - drawing.width // 2) <= 1
