"""The embedded images: ten classes of generated shapes, 32x32, in colour.

A class is a shape and nothing else: colours, place, size, angle, texture and noise are drawn
alike for all ten, so that the mean image tells little and a linear probe on the pixels stays
low, while a rotation by a few degrees, a change of colour or a crop leaves the class in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.classes import SHAPES_BINARY_GROUPS, SHAPES_CLASSES
from engine.sink import NullSink, Sink, attend

CLASSES = SHAPES_CLASSES
BINARY_GROUPS = SHAPES_BINARY_GROUPS

SIZE = 32
TRAIN_IMAGES = 10_000
TEST_IMAGES = 2_000
_CHUNK = 500


def generate(n: int, *, seed: int, sink: Sink | None = None) -> tuple[Tensor, Tensor]:
    """Draws ``n`` images, the same for the same seed.

    Args:
        n: number of images; the classes share them equally (to within one image).
        seed: of the set's own generator.
        sink: hears the progress and may ask to stop.

    Returns:
        images uint8 (n, 3, 32, 32) and labels int64 (n,), indices into ``CLASSES``, in random
        order.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % len(CLASSES)
    labels = labels[torch.randperm(n, generator=generator)]
    images = torch.empty((n, 3, SIZE, SIZE), dtype=torch.uint8)
    for start in range(0, n, _CHUNK):
        attend(sink)
        rows = slice(start, min(start + _CHUNK, n))
        images[rows] = _render(labels[rows], generator)
        sink.progress("drawing shapes", rows.stop, n)
    return images, labels


def _render(labels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (n, 3, 32, 32) images of these classes."""
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((n, *shape), generator=generator) * (high - low) + low

    radius = uniform(7.5, 13.0, 1, 1)  # pixels
    reach = (SIZE / 2 - 0.8 * radius).clamp_(min=0.0)
    centre_x = SIZE / 2 + reach * uniform(-1.0, 1.0, 1, 1)
    centre_y = SIZE / 2 + reach * uniform(-1.0, 1.0, 1, 1)
    angle = uniform(-math.pi, math.pi, 1, 1)

    steps = torch.arange(SIZE, dtype=torch.float32) + 0.5
    x, y = steps.view(1, 1, -1) - centre_x, steps.view(1, -1, 1) - centre_y
    u = (x * angle.cos() + y * angle.sin()) / radius
    v = (y * angle.cos() - x * angle.sin()) / radius
    distance = torch.empty((n, SIZE, SIZE))
    for label, shape in enumerate(_SHAPES):
        rows = (labels == label).nonzero().squeeze(1)
        distance[rows] = shape(u[rows], v[rows])
    cover = (0.5 - distance * radius).clamp_(0.0, 1.0).unsqueeze(1)  # (n, 1, 32, 32)

    back = uniform(0.1, 0.9, 3)
    candidates = uniform(0.1, 0.9, 3, 3)  # the candidate most unlike the background
    gaps = (candidates - back.unsqueeze(1)).square().sum(dim=2)
    fore = candidates[torch.arange(n), gaps.argmax(dim=1)]

    background = back.view(n, 3, 1, 1) + _texture(n, generator)
    foreground = fore.view(n, 3, 1, 1) + 0.5 * _texture(n, generator)
    noise = torch.randn((n, 3, SIZE, SIZE), generator=generator) * uniform(0.02, 0.06, 1, 1, 1)
    image = torch.lerp(background, foreground, cover).add_(noise)
    return image.clamp_(0.0, 1.0).mul_(255.0).round_().to(torch.uint8)


def _texture(n: int, generator: torch.Generator) -> Tensor:
    """Coloured clouds and a grating, float (n, 3, 32, 32) around 0."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((n, *shape), generator=generator) * (high - low) + low

    clouds = uniform(-1.0, 1.0, 3, 5, 5) * uniform(0.0, 0.25, 1, 1, 1)
    clouds = F.interpolate(clouds, size=(SIZE, SIZE), mode="bilinear", align_corners=True)
    turn = uniform(0.0, math.pi, 1, 1)
    pace = uniform(0.3, 1.5, 1, 1)  # radians a pixel
    steps = torch.arange(SIZE, dtype=torch.float32)
    phase = steps.view(1, 1, -1) * turn.cos() + steps.view(1, -1, 1) * turn.sin()
    grating = (phase * pace + uniform(0.0, 2.0 * math.pi, 1, 1)).sin_().unsqueeze(1)
    return clouds.add_(grating * uniform(-0.12, 0.12, 3, 1, 1))


# Signed distance from the outline, negative inside, in units of the shape's radius.


def _circle(u: Tensor, v: Tensor, centre_u: float, centre_v: float, radius: float) -> Tensor:
    return torch.hypot(u - centre_u, v - centre_v) - radius


def _circles(u: Tensor, v: Tensor, count: int, away: float, radius: float) -> Tensor:
    """The union of ``count`` equal discs around the middle."""
    parts = []
    for i in range(count):
        turn = 2.0 * math.pi * i / count
        parts.append(_circle(u, v, away * math.cos(turn), away * math.sin(turn), radius))
    return torch.stack(parts).amin(dim=0)


def _bars(u: Tensor, v: Tensor) -> Tensor:
    nearest = (v / 0.66).round().clamp_(-1.0, 1.0) * 0.66
    return torch.maximum(u.abs() - 0.85, (v - nearest).abs() - 0.2)


def _clover(u: Tensor, v: Tensor) -> Tensor:
    return _circles(u, v, 3, 0.52, 0.48)


def _crescent(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(_circle(u, v, 0.0, 0.0, 0.95), -_circle(u, v, 0.5, 0.0, 0.75))


def _cross(u: Tensor, v: Tensor) -> Tensor:
    a, b = u.abs(), v.abs()
    return torch.maximum(torch.minimum(a, b) - 0.27, torch.maximum(a, b) - 0.95)


def _disc(u: Tensor, v: Tensor) -> Tensor:
    return _circle(u, v, 0.0, 0.0, 0.85)


def _dots(u: Tensor, v: Tensor) -> Tensor:
    return _circles(u, v, 4, 0.68, 0.3)


def _ring(u: Tensor, v: Tensor) -> Tensor:
    return _circle(u, v, 0.0, 0.0, 0.72).abs() - 0.2


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - 0.74


def _star(u: Tensor, v: Tensor) -> Tensor:
    # Folded into half a point of the star, the outline is one line from the tip to the notch.
    fifth = 2.0 * math.pi / 5.0
    theta = torch.atan2(v, u)
    theta = (theta - fifth * (theta / fifth).round()).abs_()
    r = torch.hypot(u, v)
    notch = (0.4 * math.cos(fifth / 2), 0.4 * math.sin(fifth / 2))
    along = (notch[0] - 1.0, notch[1])
    length = math.hypot(*along)
    normal = (along[1] / length, -along[0] / length)
    return (r * theta.cos() - 1.0) * normal[0] + r * theta.sin() * normal[1]


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(-v, (math.sqrt(3.0) * u.abs() + v) / 2.0) - 0.5


_SHAPES: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    _bars,
    _clover,
    _crescent,
    _cross,
    _disc,
    _dots,
    _ring,
    _square,
    _star,
    _triangle,
)
