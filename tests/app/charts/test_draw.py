"""The chart pipeline against plain re-derivations."""

from __future__ import annotations

import math
import random
from array import array
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moco_tui.charts import ticks
from moco_tui.charts.curve_points import BLOCK, CurveColumn, CurvePoints, Extremes, columns
from moco_tui.charts.draw import draw
from moco_tui.charts.drawing import Curve, Ink, Level, View
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


def test_smoothing_is_the_debiased_exponential_mean() -> None:
    values = [random.Random(3).uniform(-5, 5) for _ in range(200)]
    series = CurvePoints(0.9)
    series.update(range(200), values)
    for at in (0, 1, 7, 199):
        weights = [Fraction(9, 10) ** (at - i) for i in range(at + 1)]
        exact = sum(w * Fraction(v) for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert series.smooth.values[at] == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.6, 0.99, 0.999])
def test_a_smoothed_constant_is_that_constant_however_many_points(smoothing: float) -> None:
    """At 0.999 the weight of 4,096 points is 0.983: a line at 10 once fell to 9.8 there."""
    whole, parts = CurvePoints(smoothing), CurvePoints(smoothing)
    steps, values = range(45_000), [10.0] * 45_000
    whole.update(steps, values)
    for count in (4_000, 4_100, 39_000, 45_000):
        parts.update(steps[:count], values[:count])
    for series in (whole, parts):
        low, high = series.smooth.range(0, len(values))
        assert low == pytest.approx(10.0, rel=1e-12)
        assert high == pytest.approx(10.0, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("log", [False, True])
def test_a_smoothed_line_stays_within_the_chart_when_a_part_is_shown(log: bool, count: int) -> None:
    """A mean over 1,000 points lies far above the points of a curve that has just fallen."""
    series = CurvePoints(0.999)
    series.update(range(4000), [100.0 if step < 2000 else 1.0 for step in range(4000)])
    view = View(low=2100.0, high=2600.0, log=log)
    drawing = draw(60, 20, [Curve(str(i), series, dense=True) for i in range(count)], view)
    for step in range(2100, 2601, 50):
        value = series.smooth.values[step]
        assert 0 <= drawing.dot_of(math.log10(value) if log else value) < drawing.dots
    if count == 1:  # with its band: the points themselves are seen as well
        assert 0 <= drawing.dot_of(0.0 if log else 1.0) < drawing.dots


def test_points_that_arrive_in_parts_draw_the_same_curve() -> None:
    generator = random.Random(1)
    steps = list(range(0, 6000, 2))
    values = [generator.choice([generator.gauss(0, 1), math.nan, math.inf]) for _ in steps]
    whole, parts = CurvePoints(0.97), CurvePoints(0.97)
    whole.update(steps, values)
    at = 0
    while at < len(steps):
        at += generator.randint(1, 200)
        parts.update(steps[:at], values[:at])
    assert parts.smooth.values == whole.smooth.values
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
    series = CurvePoints(0.6)
    series.update(range(len(values)), values)
    view = View(log=log, cursor=0.0, levels=[Level(3.0, "chance"), Level(-1.0, "below")])
    rows = draw(*size, [Curve("a", series, "●"), Curve("b", series)], view).rows
    assert len(rows) == size[1]
    assert all(sum(len(text) for text, _ in row) == size[0] for row in rows)


def test_ascii_charts_are_ascii() -> None:
    series = CurvePoints(0.9)
    series.update(range(100), [math.sin(i / 9) for i in range(100)])
    view = View(ascii=True, cursor=50, levels=[Level(0.5, "chance")])
    rows = draw(60, 12, [Curve("a", series, "A")], view).rows
    from moco_tui.terminal.abilities import to_ascii

    text = "".join(to_ascii(text) for row in rows for text, _ in row)
    assert text.isascii()
    curve = {c for row in rows for text, ink in row if ink == Ink.CURVE for c in text}
    assert curve <= set(".:'A")


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
        series = CurvePoints(0.9)
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
