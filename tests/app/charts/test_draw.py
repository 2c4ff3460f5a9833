"""The chart pipeline against plain re-derivations."""

from __future__ import annotations

import math
import random
import re
from array import array
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moco_tui.charts import ticks
from moco_tui.charts.curve_points import BLOCK, CurveColumn, CurvePoints, Extremes, columns
from moco_tui.charts.draw import draw
from moco_tui.charts.drawing import Curve, Drawing, Ink, Level, View
from moco_tui.charts.raster import line_dots

from ..calls import calls_of

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=4 * BLOCK), st.data())
@settings(max_examples=60, deadline=None)
def test_extremes_agree_with_min_and_max(values: list[float], data: st.DataObject) -> None:
    row = Extremes()
    cut = data.draw(st.integers(0, len(values)))
    row.extend(values[:cut])
    row.extend(values[cut:])
    start = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(start + 1, len(values)))
    assert row.range(start, stop) == (min(values[start:stop]), max(values[start:stop]))


@given(
    st.lists(finite, min_size=1, max_size=3 * BLOCK),
    st.sampled_from([1, 3, 5, 15, 51, 151]),
)
@settings(max_examples=60, deadline=None)
def test_a_smoothed_value_is_the_mean_of_the_points_around_it(
    values: list[float], window: int
) -> None:
    series = CurvePoints(window)
    series.update(range(len(values)), values)
    for at in range(0, len(values), 7):
        around = values[max(at - window // 2, 0) : at + window // 2 + 1]
        exact = float(sum(map(Fraction, around)) / len(around))
        assert series.value(at) == pytest.approx(exact, rel=1e-9, abs=1e-6)
        assert min(around) <= series.value(at) <= max(around)


@given(
    st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=3 * BLOCK),
    st.sampled_from([1, 5, 15, 51]),
    st.integers(1, 90),
    st.floats(0, 1),
    st.floats(0, 1),
)
@example([0.0], 1, 2, 0.0, 5e-324)  # columns of no width
@settings(max_examples=120, deadline=None)
def test_the_line_is_within_its_band_wherever_one_looks(
    values: list[float], window: int, count: int, start: float, end: float
) -> None:
    """An exponential mean lagged behind: where a loss falls, it was drawn above all its points."""
    series = CurvePoints(window)
    series.update(range(len(values)), values)
    low, high = sorted((start * len(values), end * len(values)))
    for column in columns(series, low, high, count):
        if column is not None:
            bottom, top = column.band
            assert bottom <= column.line[0] <= column.line[1] <= top
            assert bottom <= column.first <= top
            assert bottom <= column.last <= top


@pytest.mark.parametrize("window", [5, 51, 1501])
def test_a_smoothed_constant_is_that_constant_however_many_points(window: int) -> None:
    series = CurvePoints(window)
    series.update(range(45_000), [10.0] * 45_000)
    for at in (0, 1, 700, 44_999):
        assert series.value(at) == pytest.approx(10.0, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("window", [1, 15, 501])
@pytest.mark.parametrize(("low", "high"), [(None, None), (2100.0, 2600.0), (1990.0, 2010.0)])
def test_the_scale_holds_all_that_is_drawn(
    log: bool, count: int, window: int, low: float | None, high: float | None
) -> None:
    """Lines and bands, of the whole curve and of a part, also one that has just fallen."""
    series = CurvePoints(window)
    series.update(range(4000), [100.0 - step % 7 if step < 2000 else 1.0 for step in range(4000)])
    view = View(low=low, high=high, log=log)
    curves = [Curve(str(i), series, dense=True) for i in range(count)]
    for size in ((60, 20), (150, 9), (33, 40)):
        drawing = draw(*size, curves, view)
        assert drawing.bottom < drawing.top
        for column in columns(series, drawing.low, drawing.high, 2 * drawing.width):
            if column is None:
                continue
            ends = column.line if count > 1 or window == 1 else (*column.line, *column.band)
            for value in ends:
                assert 0 <= drawing.dot_of(math.log10(value) if log else value) < drawing.dots


def test_points_that_arrive_in_parts_draw_the_same_curve() -> None:
    generator = random.Random(1)
    steps = list(range(0, 6000, 2))
    values = [generator.choice([generator.gauss(0, 1), math.nan, math.inf]) for _ in steps]
    whole, parts = CurvePoints(51), CurvePoints(51)
    whole.update(steps, values)
    at = 0
    while at < len(steps):
        at += generator.randint(1, 200)
        parts.update(steps[:at], values[:at])
    assert [parts.value(i) for i in range(len(parts))] == [
        whole.value(i) for i in range(len(whole))
    ]
    assert (parts.gaps, parts.masked) == (whole.gaps, whole.masked)
    wanted = sum(not math.isfinite(value) for value in values)
    assert whole.masked == wanted
    assert len(whole) == len(steps) - wanted


def test_a_resume_that_drops_points_begins_the_curve_anew() -> None:
    series = CurvePoints()
    series.update([1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0])
    assert series.update([1, 2, 3], [4.0, 3.0, 9.0])
    assert list(series.raw.values) == [4.0, 3.0, 9.0]
    series.update([1, 2, 3, 4, 5], [4.0, 3.0, 8.0, 7.0, 6.0])
    assert list(series.raw.values) == [4.0, 3.0, 8.0, 7.0, 6.0]


def test_every_point_lies_in_its_column() -> None:
    generator = random.Random(5)
    steps = sorted(generator.sample(range(10_000), 700))
    values = [generator.gauss(0, 3) for _ in steps]
    series = CurvePoints()
    series.update(steps, values)
    low, high, count = 1000.0, 9000.0, 37
    found = columns(series, low, high, count)
    wanted: list[list[float]] = [[] for _ in range(count)]
    for step, value in zip(steps, values, strict=True):
        if low <= step <= high:
            wanted[min(int((step - low) / ((high - low) / count)), count - 1)].append(value)
    for column, points in zip(found, wanted, strict=True):
        if not points:
            assert column is None
        else:
            assert column is not None
            assert column.line == (min(points), max(points))
            assert (column.first, column.last) == (points[0], points[-1])


def test_a_gap_breaks_the_line() -> None:
    series = CurvePoints()
    series.update(range(6), [1.0, 1.0, math.nan, 1.0, 1.0, 1.0])
    joined = [column.joined for column in columns(series, 0, 5, 6) if column is not None]
    assert joined == [False, True, False, True, True]


def test_dots_of_a_line_are_where_they_belong() -> None:
    """One value a column on a canvas of two cells by one: four columns of four dots."""
    cols = [CurveColumn((v, v), v, v, (v, v), False) for v in (0, 1, 2, 3)]
    cells = line_dots(cols, int, 4)
    # From the Unicode chart: left dots from below are 7 3 2 1, right ones 8 6 5 4.
    assert {key: chr(0x2800 + bits) for key, bits in cells.items()} == {
        (0, 0): "⡠",
        (1, 0): "⠊",
    }


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [math.nan],
        [math.inf, -math.inf],
        [1e308, -1e308],
        [5.0] * 3,
        [-1.0, -2.0],
        [0.0, 0.0],
        [5e-324, 1e-320],
        [1e-300, 1e300],
    ],
)
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (12, 4), (13, 5), (40, 8), (150, 40)])
def test_any_values_fill_any_size(values: list[float], size: tuple[int, int], log: bool) -> None:
    series = CurvePoints(5)
    series.update(range(len(values)), values)
    view = View(log=log, cursor=0.0, levels=[Level(3.0, "chance"), Level(-1.0, "below")])
    rows = draw(*size, [Curve("a", series, "●"), Curve("b", series)], view).rows
    assert len(rows) == size[1]
    assert all(sum(len(text) for text, _ in row) == size[0] for row in rows)


def test_ascii_charts_are_ascii() -> None:
    series = CurvePoints(15)
    series.update(range(100), [math.sin(i / 9) for i in range(100)])
    view = View(ascii=True, cursor=50, levels=[Level(0.5, "chance")])
    rows = draw(60, 12, [Curve("a", series, "A")], view).rows
    from moco_tui.terminal.abilities import to_ascii

    text = "".join(to_ascii(text) for row in rows for text, _ in row)
    assert text.isascii()
    curve = {c for row in rows for text, ink in row if ink == Ink.CURVE for c in text}
    assert curve <= set(".:'A")


def test_the_band_goes_on_between_points_and_not_over_a_gap() -> None:
    series = CurvePoints(5)
    series.update(range(12), [1.0, 9.0] * 3 + [math.nan] + [9.0, 1.0] * 2 + [9.0])
    drawing = draw(120, 20, [Curve("loss", series)], View())
    shaded = {x for x, _ in cells_of(drawing, "░")}
    there = [drawing.cell_of(step) for step in series.steps]
    assert shaded >= set(range(there[0], there[5]))
    assert not shaded & set(range(there[5] + 1, there[6])), "nothing is known there"


def cells_of(drawing: Drawing, wanted: str) -> list[tuple[int, int]]:
    """Column and row, from the lower left corner of the canvas, of every such character."""
    rows = ["".join(text for text, _ in row)[drawing.left :] for row in drawing.rows]
    canvas = rows[: drawing.height]
    return [
        (x, drawing.height - 1 - y)
        for y, row in enumerate(canvas)
        for x, character in enumerate(row)
        if character == wanted
    ]


@pytest.mark.parametrize("mark", ["", "■"])
def test_few_points_are_marked_where_they_were_measured(mark: str) -> None:
    """Three values of kNN joined by lines looked like a curve that was measured throughout."""
    steps, values = [0, 390, 780], [44.1, 43.7, 43.5]
    series = CurvePoints()
    series.update(steps, values)
    drawing = draw(100, 20, [Curve("kNN", series, mark)], View())
    wanted = [
        (drawing.cell_of(s), drawing.dot_of(v) // 4) for s, v in zip(steps, values, strict=True)
    ]
    assert sorted(cells_of(drawing, mark or "•")) == sorted(wanted)


def test_a_curve_of_many_points_has_no_mark_on_each() -> None:
    series = CurvePoints()
    series.update(range(500), [float(i) for i in range(500)])
    assert not cells_of(draw(100, 20, [Curve("loss", series)], View()), "•")
    beside = CurvePoints()  # few, and as near to each other as those of a long curve
    beside.update(range(25), [float(i) for i in range(25)])
    curves = [Curve("long", series, "●"), Curve("short", beside, "■")]
    assert len(cells_of(draw(100, 20, curves, View()), "■")) < 5


@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0, 30.0])
def test_an_interval_stands_at_its_own_mark(shift: float) -> None:
    """Of two curves with one value the second mark stood beside, its interval at the first."""
    curves = []
    for number, mark in enumerate("●■▲"):
        series = CurvePoints()
        values = [50.0 + number * shift, 55.0 + number * shift]
        series.update([10.0, 30.0], values)
        bars = [(s, v - 4, v + 4) for s, v in zip(series.steps, values, strict=True)]
        curves.append(Curve(mark, series, mark, bars))
    drawing = draw(90, 30, curves, View(points=True))
    upright = cells_of(drawing, "│")
    for number, curve in enumerate(curves):
        marks = cells_of(drawing, curve.mark)
        assert len(marks) == 2
        for (x, y), value in zip(sorted(marks), curve.series.raw.values, strict=True):
            low, high = drawing.dot_of(value - 4) // 4, drawing.dot_of(value + 4) // 4
            own = {row for column, row in upright if column == x} | {y}
            assert set(range(low, high + 1)) <= own, (number, x, y)


def test_the_chance_level_stands_at_its_height() -> None:
    series = CurvePoints()
    series.update([0, 10], [0.0, 10.0])
    drawing = draw(60, 22, [Curve("a", series)], View(levels=[Level(5.0, "chance 5")]))
    rows = ["".join(text for text, _ in row) for row in drawing.rows]
    at = next(i for i, row in enumerate(rows) if "chance 5" in row)
    value = drawing.top - (at + 0.5) / drawing.height * (drawing.top - drawing.bottom)
    assert value == pytest.approx(5.0, abs=(drawing.top - drawing.bottom) / drawing.height)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_ticks_are_round_within_and_not_too_many(low: float, span: float, count: int) -> None:
    high = low + span
    found = ticks.linear(low, high, count)
    assert len(found) <= count / 0.75 + 1
    margin = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - margin <= value <= high + margin for value in found)
    labels = [ticks.label(v, found[1] - found[0]) for v in found] if len(found) > 1 else []
    if span > 1e-3 * max(abs(low), abs(high)):
        assert len(set(labels)) == len(labels), "no two ticks read the same"


def test_drawing_costs_the_same_however_many_points_there_are() -> None:
    """What grows with the points is done once, when they come (``tests/benchmarks/app.py``)."""

    def drawn(count: int) -> int:
        values = (9 + 8 * math.exp(-i / 50_000) + (i * 7919 % 97) / 97 for i in range(count))
        series = CurvePoints(15)
        series.update(array("q", range(1, count + 1)), array("d", values))
        view = View(levels=[Level(16.6, "chance")])
        first = draw(150, 38, [Curve("loss", series)], view)
        assert len(first.rows) == 38
        return calls_of(lambda: draw(150, 38, [Curve("loss", series)], view))

    assert drawn(242_500) < 1.5 * drawn(24_250)


@pytest.mark.parametrize("values", [[40.0, 60.0], [50.0, 50.0], [0.0, 100.0], [-5.0, 300.0]])
def test_a_span_that_is_given_stays_whatever_is_drawn(values: list[float]) -> None:
    series = CurvePoints()
    series.update([0, 1], values)
    curves = [Curve("load", series)]
    drawing = draw(40, 12, curves, View(span=(0.0, 100.0)))
    assert (drawing.bottom, drawing.top) == (0.0, 100.0)
    assert drawing.dot_of(50.0) == pytest.approx(drawing.dots / 2, abs=1)
    assert all(sum(len(text) for text, _ in row) == 40 for row in drawing.rows)
    whole = draw(40, 12, curves, View())
    for other in (View(span=(0.0, 100.0), log=True), View(span=(1.0, 1.0))):
        assert draw(40, 12, curves, other).bottom != 0.0
    assert draw(40, 12, curves, View(span=(1.0, 1.0))).top == whole.top


@pytest.mark.parametrize("height", [4, 5, 6, 7, 9])
@pytest.mark.parametrize("top", [52.9, 54.0, 54.9, 57.3])
def test_a_row_has_one_tick_and_always_the_same(height: int, top: float) -> None:
    """Its label is of a value that falls into the row, whatever the hash of texts."""
    series = CurvePoints()
    series.update([0, 10], [47.3, top])
    drawing = draw(40, height, [Curve("a", series)], View())
    rows = ["".join(text for text, _ in row) for row in drawing.rows][: drawing.height]
    for number, row in enumerate(rows):
        if "┤" in row:
            value, above = float(row.partition("┤")[0]), drawing.height - 1 - number
            assert drawing.dot_of(value) // 4 == above
            values = ticks.linear(drawing.bottom, drawing.top, max(3, drawing.height // 3))
            here = [v for v in values if drawing.dot_of(v) // 4 == above]
            middle = min(here, key=lambda v: abs(drawing.dot_of(v) % 4 - 1.5))
            assert value == pytest.approx(middle)


def few(places: list[float], values: list[float], **more: Any) -> Curve:
    series = CurvePoints()
    series.update(places, values)
    return Curve("a", series, "o", **more)


@pytest.mark.parametrize("ascii_", [False, True])
def test_a_mark_across_stands_on_its_line_with_its_interval(ascii_: bool) -> None:
    middle, line, first, last = "+-||" if ascii_ else "┼─├┤"
    curve = few([-1.0, 2.0], [10.0, 40.0], across=[(0.5, 25.0, 0.0, 1.5)])
    drawing = draw(70, 20, [curve], View(points=True, ascii=ascii_))
    cells = {
        (x, y): (character, ink)
        for y, row in enumerate(reversed(drawing.rows[: drawing.height]))
        for x, (character, ink) in enumerate(
            [(character, ink) for text, ink in row for character in text][drawing.left :]
        )
    }
    y = drawing.dot_of(25.0) // 4
    at, low, high = (drawing.cell_of(step) for step in (0.5, 0.0, 1.5))
    assert cells[at, y] == (middle, Ink.CURVE)
    assert (cells[low, y][0], cells[high, y][0]) == (first, last)
    assert {cells[x, y][0] for x in range(low + 1, high) if x != at} == {line}
    assert {cells[x, y][0] for x in (low - 1, high + 1)}.isdisjoint({line, first, last})


def test_an_interval_beyond_the_canvas_is_cut_and_has_no_end_there() -> None:
    curve = few([-1.0, 2.0], [10.0, 40.0], across=[(0.5, 25.0, -4.0, 9.0)])
    drawing = draw(70, 20, [curve], View(points=True))
    y = drawing.dot_of(25.0) // 4
    row = drawing.rows[drawing.height - 1 - y]
    text = "".join(part for part, _ in row)[drawing.left :]
    assert text.count("┼") == 1
    assert set(text) <= {"┼", "─", "o"}


def test_without_an_interval_the_mark_stands_alone() -> None:
    curve = few([-1.0, 2.0], [10.0, 40.0], across=[(0.5, 25.0, 0.5, 0.5)])
    drawing = draw(70, 20, [curve], View(points=True))
    y = drawing.dot_of(25.0) // 4
    text = "".join(part for part, _ in drawing.rows[drawing.height - 1 - y])[drawing.left :]
    assert text[drawing.cell_of(0.5)] == "┼"
    assert not {"─", "├", "┤"} & set(text)


@pytest.mark.parametrize(("width", "least"), [(24, 2), (40, 4), (90, 5)])
def test_named_ticks_stand_where_they_belong_and_never_touch(width: int, least: int) -> None:
    named = [(math.log10(v), f"{v:g} %") for v in (0.1, 1.0, 10.0, 100.0, 0.11, 50.0)]
    drawing = draw(width, 12, [few([-1.0, 2.0], [1.0, 2.0])], View(points=True, ticks=named))
    line = "".join(text for text, _ in drawing.rows[-1])
    shown = re.findall(r"[\d.]+ %", line)
    assert len(shown) >= least
    assert shown == sorted(shown, key=lambda text: float(text.split()[0]))
    assert "0.1 %" in shown
    assert "0.11 %" not in shown, "it would touch a more important one"
    for text in shown:
        place = drawing.left + drawing.cell_of(math.log10(float(text.split()[0])))
        start = re.search(rf"(?<![\d.]){re.escape(text)}", line)
        assert start is not None
        assert start.start() - 1 <= place <= start.end()
