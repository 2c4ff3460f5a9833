"""The embedded images: ten classes of generated shapes, 32x32, in colour.

A class is a shape and nothing else: colours, place, size, angle, texture and noise are drawn
alike for all ten, so that the mean image tells little and a linear probe on the pixels stays
low, while a rotation by a few degrees, a change of colour or a crop leaves the class in place.

Measured once on the whole set (10,000 training and 2,000 test images, top-1 on test, standardised
inputs, full-batch L-BFGS where it says logistic): pixels, logistic, 10.6 to 13.2 % for L2 strengths
of 1e-3 to 1; features of the random ``convnet`` (BatchNorm statistics set on training images),
logistic, 26.9, 27.6 and 29.2 % for three seeds; after the 12 epochs of the preset ``quick``, when
its crops began at 0.2 of the area, 42.0 % from 27.6 %; the same ``convnet`` supervised (15 epochs
of SGD with Nesterov momentum 0.9 in batches of 128, one cycle up to a learning rate of 0.1, weight
decay 5e-4, dropout 0.3, no augmentation) 96.1 %, above 90 % from the ninth epoch on.

The same bytes everywhere: random bits of a generator whose stream is fixed, and operations on
pixels that IEEE 754 rounds exactly (sum, product, quotient, root), one at a time; sines are taken
in float64 and rounded. NumPy, since it asks no second thread: torch splits these small
operations, and waiting for a thread on a busy machine took ten times as long as the drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config.data.shapes import CLASSES
from engine.data.dataset import Dataset, Split
from engine.sink import NullSink, Sink, check_interrupt

SIZE = 32
TRAIN_IMAGES = 10_000
TEST_IMAGES = 2_000
_SEEDS = {"train": 20_191_113, "test": 20_200_309}  # dates of MoCo v1 and v2 on arXiv
_CHUNK = 50  # images drawn at a time; their arrays (0.6 MB) stay in the cache
_REPORT = 500  # images between two reports

_Array = NDArray[Any]  # float32 throughout


def load(_argument: str, _data_dir: Path, sink: Sink) -> Dataset:
    """The training and the test images, drawn anew: that takes a second.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    train = generate(TRAIN_IMAGES, seed=_SEEDS["train"], sink=sink)
    test = generate(TEST_IMAGES, seed=_SEEDS["test"], sink=sink)
    return Dataset("shapes", Split(*train), Split(*test), CLASSES)


def sample(_argument: str, _data_dir: Path, count: int) -> Tensor:
    """A few images of all classes, uint8 (count, 3, 32, 32); ``count`` is at most 20."""
    return generate(20, seed=7)[0][:count]


def generate(n: int, *, seed: int, sink: Sink | None = None) -> tuple[Tensor, Tensor]:
    """Draws ``n`` images, the same for the same seed.

    Args:
        n: number of images; the classes share them equally (to within one image).
        seed: of the set's own generator, >= 0.
        sink: receives the progress and may ask to stop.

    Returns:
        images uint8 (n, 3, 32, 32) and labels int64 (n,), indices into ``CLASSES``, in random
        order.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    rng = _RandomNumbers(seed)
    # A random permutation modulo the number of classes: equal shares in random order.
    labels = rng.bits(n).argsort(kind="stable") % len(CLASSES)
    images = np.empty((n, 3, SIZE, SIZE), dtype=np.uint8)
    for start in range(0, n, _CHUNK):
        if start % _REPORT == 0:
            check_interrupt(sink)
            sink.progress("drawing shapes", start, n)
        rows = slice(start, start + _CHUNK)
        images[rows] = _render(labels[rows], rng)
    sink.progress("drawing shapes", n, n)
    return torch.from_numpy(images), torch.from_numpy(labels)


class _RandomNumbers:
    """Random numbers from the raw stream of PCG64.

    NumPy keeps the streams of its bit generators, but not those of ``Generator``'s distributions
    (NEP 19), so these are made here.
    """

    def __init__(self, seed: int) -> None:
        self._source = np.random.PCG64(seed)

    def bits(self, n: int) -> NDArray[np.uint64]:
        """Random uint64 (n,)."""
        return np.asarray(self._source.random_raw(n), dtype=np.uint64)

    def uniform(self, low: float, high: float, *shape: int) -> _Array:
        """float32 of this shape, uniform from low to high."""
        # The upper 24 bits, since float32 holds these exactly.
        top = (self.bits(math.prod(shape)) >> np.uint64(40)).astype(np.float32)
        values: _Array = (top * (2.0**-24 * (high - low)) + low).reshape(shape)
        return values

    def noise(self, *shape: int) -> _Array:
        """float32 of this shape, triangular around 0 with variance 1, from two bytes each."""
        count = math.prod(shape)
        both = self.bits(-(-count // 4)).astype("<u8").view(np.uint8).reshape(2, -1)[:, :count]
        total = both[0].astype(np.float32) + both[1]
        # The sum of two bytes has mean 255 and variance (256^2 - 1) / 6.
        values: _Array = ((total - 255.0) * math.sqrt(6.0 / (256.0**2 - 1.0))).reshape(shape)
        return values


def _cos_sin(angle: _Array) -> tuple[_Array, _Array]:
    # Rounded from float64: sines computed in float32 may differ in the last bit between machines.
    wide = angle.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)


def _render(labels: NDArray[np.int64], rng: _RandomNumbers) -> NDArray[np.uint8]:
    """uint8 (n, 3, 32, 32) images of these classes."""
    n = len(labels)
    radius = rng.uniform(7.5, 13.0, n, 1, 1)  # pixels
    reach = SIZE / 2 - 0.8 * radius  # a fifth of the radius may lie outside of the image
    centre_x = SIZE / 2 + reach * rng.uniform(-1.0, 1.0, n, 1, 1)
    centre_y = SIZE / 2 + reach * rng.uniform(-1.0, 1.0, n, 1, 1)
    cos, sin = _cos_sin(rng.uniform(-math.pi, math.pi, n, 1, 1))

    steps = np.arange(SIZE, dtype=np.float32) + 0.5  # centres of the pixels
    x = (steps.reshape(1, 1, -1) - centre_x) / radius
    y = (steps.reshape(1, -1, 1) - centre_y) / radius
    u, v = x * cos + y * sin, y * cos - x * sin
    distance = np.empty((n, SIZE, SIZE), dtype=np.float32)
    for label, shape in enumerate(_SHAPES):
        rows = labels == label
        distance[rows] = shape(u[rows], v[rows])
    # Share of a pixel inside the shape: the outline is blurred over one pixel.
    cover = np.clip(0.5 - distance * radius, 0.0, 1.0)[:, None]  # (n, 1, 32, 32)

    back = rng.uniform(0.1, 0.9, n, 3, 1, 1)
    candidates = rng.uniform(0.1, 0.9, n, 3, 3, 1, 1)  # the candidate most unlike the background
    gap = (candidates - back[:, None]) ** 2
    most = (gap[:, :, 0] + gap[:, :, 1] + gap[:, :, 2]).reshape(n, 3).argmax(axis=1)
    fore = candidates[np.arange(n), most]

    image = _texture(n, rng) + back
    foreground = _texture(n, rng) * 0.5 + fore
    image += (foreground - image) * cover
    image += rng.noise(n, 3, SIZE, SIZE) * rng.uniform(0.02, 0.06, n, 1, 1, 1)
    pixels: NDArray[np.uint8] = np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels


def _texture(n: int, rng: _RandomNumbers) -> _Array:
    """Coloured clouds and a grating, float32 (n, 3, 32, 32) around 0."""
    clouds = rng.uniform(-1.0, 1.0, n, 3, 5, 5) * rng.uniform(0.0, 0.25, n, 1, 1, 1)
    clouds = _stretch(_stretch(clouds).swapaxes(2, 3))
    cos, sin = _cos_sin(rng.uniform(0.0, math.pi, n, 1))
    pace = rng.uniform(0.3, 1.5, n, 1)  # radians a pixel
    steps = np.arange(SIZE, dtype=np.float32)
    # sin(a + b) from the columns' a and the rows' b: 64 sines an image in place of 1,024.
    cos_a, sin_a = _cos_sin(steps * (cos * pace))
    cos_b, sin_b = _cos_sin(steps * (sin * pace) + rng.uniform(0.0, 2.0 * math.pi, n, 1))
    grating = sin_a[:, None] * cos_b[:, :, None] + cos_a[:, None] * sin_b[:, :, None]
    clouds += grating[:, None] * rng.uniform(-0.12, 0.12, n, 3, 1, 1)
    return clouds


def _stretch(grid: _Array) -> _Array:
    """The last dimension as SIZE values, linear between the given ones."""
    last = grid.shape[-1] - 1
    place = np.arange(SIZE, dtype=np.float32) * (last / (SIZE - 1))
    below = np.minimum(place.astype(np.int64), last - 1)
    low, high = grid[..., below], grid[..., below + 1]
    between: _Array = low + (high - low) * (place - below.astype(np.float32))
    return between


# Signed distance from the outline, negative inside, in units of the shape's radius.


def _circle(u: _Array, v: _Array, centre_u: float, centre_v: float, radius: float) -> _Array:
    gap_u, gap_v = u - centre_u, v - centre_v
    return np.sqrt(gap_u * gap_u + gap_v * gap_v) - radius


def _circles(u: _Array, v: _Array, count: int, away: float, radius: float) -> _Array:
    """The union of ``count`` equal discs around the middle."""
    turns = [2.0 * math.pi * i / count for i in range(count)]
    parts = [_circle(u, v, away * math.cos(t), away * math.sin(t), radius) for t in turns]
    union: _Array = np.minimum.reduce(parts)
    return union


def _bars(u: _Array, v: _Array) -> _Array:
    nearest = np.clip(np.rint(v / 0.66), -1.0, 1.0) * 0.66
    return np.maximum(np.abs(u) - 0.85, np.abs(v - nearest) - 0.2)


def _clover(u: _Array, v: _Array) -> _Array:
    return _circles(u, v, 3, 0.52, 0.48)


def _crescent(u: _Array, v: _Array) -> _Array:
    return np.maximum(_circle(u, v, 0.0, 0.0, 0.95), -_circle(u, v, 0.5, 0.0, 0.75))


def _cross(u: _Array, v: _Array) -> _Array:
    a, b = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(a, b) - 0.27, np.maximum(a, b) - 0.95)


def _disc(u: _Array, v: _Array) -> _Array:
    return _circle(u, v, 0.0, 0.0, 0.85)


def _dots(u: _Array, v: _Array) -> _Array:
    return _circles(u, v, 4, 0.68, 0.3)


def _ring(u: _Array, v: _Array) -> _Array:
    return np.abs(_circle(u, v, 0.0, 0.0, 0.72)) - 0.2


def _square(u: _Array, v: _Array) -> _Array:
    return np.maximum(np.abs(u), np.abs(v)) - 0.74


def _star(u: _Array, v: _Array) -> _Array:
    # Folded into half a point of the star, the outline is one line from the tip to the notch.
    half = math.pi / 5.0
    cos, sin = math.cos(half), math.sin(half)
    v = np.abs(v)
    for _ in range(2):  # mirrored at the line through the notch, then at the axis
        beyond = np.maximum(v * cos - u * sin, 0.0)
        u, v = u + beyond * (2.0 * sin), np.abs(v - beyond * (2.0 * cos))
    along = (0.4 * cos - 1.0, 0.4 * sin)
    length = math.hypot(*along)
    return (u - 1.0) * (along[1] / length) + v * (-along[0] / length)


def _triangle(u: _Array, v: _Array) -> _Array:
    return np.maximum(-v, (np.abs(u) * math.sqrt(3.0) + v) / 2.0) - 0.5


# In the order of CLASSES.
_SHAPES: tuple[Callable[[_Array, _Array], _Array], ...] = (
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
