"""From point to point on a map: which one lies in a direction, which under the mouse."""

from __future__ import annotations

from collections.abc import Sequence

Dot = tuple[int, int]
"""Column and row of a dot, from the lower left corner."""
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, 1), "down": (0, -1)}


def placed(points: Sequence[tuple[float, float]], width: int, height: int) -> list[Dot]:
    """The dots of points on a canvas that they fill, each axis for itself.

    Args:
        points: finite.
        width: of the canvas in dots, at least 1.
        height: likewise.
    """
    dots = []
    spans = []
    for axis, room in ((0, width), (1, height)):
        low = min((point[axis] for point in points), default=0.0)
        high = max((point[axis] for point in points), default=0.0)
        spans.append((low, (room - 1) / (high - low) if high > low else 0.0))
    for x, y in points:
        dots.append(
            (round((x - spans[0][0]) * spans[0][1]), round((y - spans[1][0]) * spans[1][1]))
        )
    return dots


def neighbour_in(dots: Sequence[Dot], current: int, direction: str) -> int:
    """The nearest point in a direction; the current one where none lies there.

    Points within 45 degrees of the direction come first; what lies further aside counts as twice
    as far, so that every point can be reached.

    Args:
        dots: of all points.
        current: the point to go from.
        direction: a key of ``DIRECTIONS``.
    """
    step_x, step_y = DIRECTIONS[direction]
    x, y = dots[current]
    best, found = 0.0, current
    for number, (other_x, other_y) in enumerate(dots):
        dx, dy = other_x - x, other_y - y
        along = dx * step_x + dy * step_y
        if along <= 0:
            continue
        aside = abs(dx * step_y) + abs(dy * step_x)
        distance = along * along + aside * aside
        if aside > along:
            distance *= 4
        if found == current or distance < best:
            best, found = distance, number
    return found


def nearest_to(dots: Sequence[Dot], x: float, y: float) -> int:
    """The point nearest to a place; there is at least one."""
    return min(range(len(dots)), key=lambda n: (dots[n][0] - x) ** 2 + (dots[n][1] - y) ** 2)
