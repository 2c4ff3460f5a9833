"""From point to point on a map."""

from __future__ import annotations

import itertools

import pytest

from moco_tui.present.map_moves import DIRECTIONS, nearest_to, neighbour_in, placed

from ..looks import points_of

DOTS = placed(points_of(1.1), 120, 80)


def test_points_fill_the_canvas_to_its_edges() -> None:
    columns, rows = zip(*DOTS, strict=True)
    assert (min(columns), max(columns)) == (0, 119)
    assert (min(rows), max(rows)) == (0, 79)
    assert placed([(3.0, 3.0), (3.0, 3.0)], 10, 10) == [(0, 0), (0, 0)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_move_goes_in_its_direction_and_never_past_a_nearer_point(direction: str) -> None:
    step = DIRECTIONS[direction]
    for current, (x, y) in enumerate(DOTS):
        found = neighbour_in(DOTS, current, direction)
        ahead = []
        for other, (ox, oy) in enumerate(DOTS):
            along = (ox - x) * step[0] + (oy - y) * step[1]
            aside = abs((ox - x) * step[1]) + abs((oy - y) * step[0])
            if along > 0:
                ahead.append((along**2 + aside**2, aside <= along, other))
        if not ahead:
            assert found == current  # the edge
            continue
        straight = [distance for distance, within, _ in ahead if within]
        chosen = next(distance for distance, _, other in ahead if other == found)
        assert chosen <= min(straight, default=chosen)


def test_every_point_can_be_reached_from_every_other() -> None:
    reached, new = {0}, {0}
    while new:
        new = {
            neighbour_in(DOTS, current, direction)
            for current, direction in itertools.product(new, DIRECTIONS)
        } - reached
        reached |= new
    missing = {DOTS[n] for n in range(len(DOTS))} - {DOTS[n] for n in reached}
    assert len(missing) <= 2  # what lies hidden between nearer points; the mouse and n reach it


def test_the_mouse_means_the_nearest_point() -> None:
    for image, (x, y) in enumerate(DOTS):
        assert DOTS[nearest_to(DOTS, x + 0.2, y - 0.2)] == DOTS[image]
