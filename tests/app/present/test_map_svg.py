"""The map for a paper: round ticks inside the axes, and points where they belong."""

from __future__ import annotations

import re

import pytest

from moco_tui.present.map_svg import extent, pca_map, svg, ticks

from ..looks import some_look


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 7.9), (1e-4, 5e-4), (-60.0, 80.0)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low <= value <= high for value in found)
    step = found[1] - found[0]
    assert re.fullmatch(r"[125]\.?0*e[+-]\d+", f"{step:.10e}".replace(".0000000000", "."))


def test_an_axis_without_extent_is_not_empty() -> None:
    low_x, high_x, low_y, high_y = extent([(2.0, 5.0), (2.0, 5.0)])
    assert low_x < 2 < high_x
    assert low_y < 5 < high_y


def test_points_stand_at_their_coordinates() -> None:
    look = some_look()
    view = look.encoders[0]
    drawn = svg(look, view, pca_map(view))
    circles = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)][:-1]  # the legend's
    # The first class has circles; x on the page rises with the first component.
    first = [x for (x, _), label in zip(view.pca, look.labels, strict=True) if label == 0]
    assert len(circles) == len(first)
    order = sorted(range(len(first)), key=lambda n: first[n])
    assert [circles[n] for n in order] == sorted(circles)
