"""What the top line of a chart says, in as many words as there is room for."""

from __future__ import annotations

import pytest

from moco_tui.charts.axes import step_limits
from moco_tui.charts.curve_points import CurvePoints
from moco_tui.charts.drawing import Curve, View
from moco_tui.charts.readout import fitted_words, how_shown, values_at


def curve(steps: list[float], window: int = 1) -> Curve:
    points = CurvePoints(window)
    points.update(steps, [step / 10 for step in steps])
    return Curve("c", points)


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (40, "step 5  8.125 · zoom 1–9 · log"),
        (28, "step 5  8.125 · 1–9 · log"),
        (22, "8.125 · zoom 1–9 · log"),
        (18, "8.125 · 1–9 · log"),
        (14, "zoom 1–9 · log · 8.125"),  # the end is cut: how it is shown stays
        (11, "1–9 · log · 8.125"),
    ],
)
def test_how_curves_are_shown_is_never_what_is_cut(room: int, words: str) -> None:
    values = ("step 5  8.125", "8.125")
    how = (["zoom 1–9", "log"], ["1–9", "log"])
    assert fitted_words(values, how, room) == words


def test_without_values_there_is_no_gap() -> None:
    assert fitted_words(("", ""), (["steps"], []), 20) == "steps"


def test_every_state_of_a_view_is_said_in_both_lengths() -> None:
    drawn = [curve(list(range(40)), window=5)]
    view = View(low=10, high=30, log=True, per_epoch=10)
    assert how_shown(view, drawn) == ["zoom 1.0–3.0", "log", "mean of 5", "epochs"]
    assert how_shown(view, drawn, short=True) == ["1.0–3.0", "log", "mean 5", "epochs"]
    assert how_shown(View(), drawn[:0], short=True) == []


def test_the_values_at_the_cursor_are_those_of_the_step_that_most_curves_have() -> None:
    drawn = [curve([0, 10, 20]), curve([10, 25])]
    drawn[0].mark, drawn[1].mark = "●", "■"
    text = values_at(drawn, None, 12, per_epoch=5, unit=" %")
    assert text == "step 10  epoch 2.00  ● 1.000 %  ■ 1.000 %"
    short = values_at(drawn, None, 12, per_epoch=5, unit=" %", short=True)
    assert short == "step 10  ● 1.000 %  ■ 1.000 %"


def test_charts_side_by_side_span_the_same_steps_until_one_is_zoomed() -> None:
    drawn = [curve([5, 10])]
    assert step_limits(View(whole=(0, 40)), drawn) == (0, 40)
    assert step_limits(View(whole=(7, 8)), drawn) == (5, 10)
    assert step_limits(View(whole=(0, 40), low=6, high=9), drawn) == (6, 9)
    assert step_limits(View(whole=(0, 40)), [curve([])]) == (0, 1), "nothing to draw, no axis"
