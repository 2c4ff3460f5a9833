"""The map of a look as a picture for a paper: SVG with title, axes and legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from engine.runs.encoder_look import EncoderView, Look
from moco_tui.present import fmt
from moco_tui.present.look_text import images_text, name_of, view_text

Points = Sequence[tuple[float, float]]
COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip
_LEFT, _TOP, _SIDE, _LEGEND = 70, 50, 480, 190
_TICKS = 5


@dataclass(frozen=True)
class PlaneMap:
    """Points of all images in a plane.

    Attributes:
        kind: ``PCA`` or ``t-SNE``.
        points: one for each image.
        axes: what the two axes are called.
    """

    kind: str
    points: Points
    axes: tuple[str, str]


def pca_map(view: EncoderView) -> PlaneMap:
    """The two leading principal components."""
    first, second = (
        f"component {n} ({fmt.percent(share)} of the variance)"
        for n, share in enumerate(view.explained, 1)
    )
    return PlaneMap("PCA", view.pca, (first, second))


def tsne_map(points: Points) -> PlaneMap:
    """A t-SNE; its axes have no unit."""
    return PlaneMap("t-SNE", points, ("t-SNE 1", "t-SNE 2"))


def extent(points: Points) -> tuple[float, float, float, float]:
    """Lowest and highest x, then y, with a margin; never empty."""
    found = []
    for axis in (0, 1):
        low = min((point[axis] for point in points), default=0.0)
        high = max((point[axis] for point in points), default=0.0)
        margin = 0.03 * (high - low) or 1.0
        found += [low - margin, high + margin]
    return found[0], found[1], found[2], found[3]


def ticks(low: float, high: float, most: int = _TICKS) -> list[float]:
    """Round numbers in a range."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def svg(look: Look, view: EncoderView, plane: PlaneMap) -> str:
    """The map as SVG; texts of others are cleaned and escaped.

    A class has a colour of its own, and a shape beside it: both can be told apart in grey.
    """
    low_x, high_x, low_y, high_y = extent(plane.points)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = _LEFT + (point[0] - low_x) / (high_x - low_x) * _SIDE
        return x, _TOP + (high_y - point[1]) / (high_y - low_y) * _SIDE

    classes = sorted(set(look.labels))
    height = max(_TOP + _SIDE + 60, _TOP + 16 * len(classes) + 20)
    width = _LEFT + _SIDE + _LEGEND
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_LEFT, 20, f"{plane.kind} of {view_text(view, others=False)}", size=15),
        _text(_LEFT, 38, images_text(look)),
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" '
        'stroke="black"/>',
    ]
    for value in ticks(low_x, high_x):
        x = place((value, low_y))[0]
        parts.append(_tick(x, _TOP + _SIDE, 0, 5))
        parts.append(_text(x, _TOP + _SIDE + 19, fmt.number(value, 3), anchor="middle"))
    for value in ticks(low_y, high_y):
        y = place((low_x, value))[1]
        parts.append(_tick(_LEFT, y, -5, 0))
        parts.append(_text(_LEFT - 8, y + 4, fmt.number(value, 3), anchor="end"))
    middle = _TOP + _SIDE / 2
    parts.append(_text(_LEFT + _SIDE / 2, _TOP + _SIDE + 42, plane.axes[0], anchor="middle"))
    turned = f' transform="rotate(-90 16 {middle:g})"'
    parts.append(_text(16, middle, plane.axes[1], anchor="middle", more=turned))
    for point, label in zip(plane.points, look.labels, strict=True):
        parts.append(_mark(*place(point), label))
    for row, label in enumerate(classes):
        y = _TOP + 10 + 16 * row
        parts.append(_mark(_LEFT + _SIDE + 20, y, label))
        parts.append(_text(_LEFT + _SIDE + 32, y + 4, name_of(look, label)))
    return "\n".join([*parts, "</svg>", ""])


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, more: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{more}>'
        f"{escape(fmt.clean(text))}</text>"
    )


def _tick(x: float, y: float, dx: float, dy: float) -> str:
    return f'<path d="M{x:.1f} {y:.1f}l{dx:g} {dy:g}" stroke="black"/>'


def _mark(x: float, y: float, label: int) -> str:
    """The shape of a class at a place."""
    colour = COLOURS[label % len(COLOURS)]
    shape = (label + label // len(COLOURS)) % 5
    if shape == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>'
    path = (
        "m-2.4 -2.4h4.8v4.8h-4.8z",  # a square
        "m0 -3.2l3 5.4h-6z",  # a triangle
        "m0 -3.4l3 3.4l-3 3.4l-3 -3.4z",  # a diamond
        "m-3 -3l6 6m0 -6l-6 6",  # a cross
    )[shape - 1]
    drawn = f'stroke="{colour}" fill="none"' if shape == 4 else f'fill="{colour}"'
    return f'<path d="M{x:.1f} {y:.1f}{path}" {drawn}/>'
