"""The operations between two convolutions against the same in float64, group by group.

The tests run twice: on torch's own operations, and, in a process of its own, on the kernels in
Triton's interpreter (``test_the_kernels_pass_these_tests_in_the_interpreter``).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels import group_tiles
from engine.kernels.choices import CHOICES
from engine.kernels.group_block import (
    group_statistics,
    norm_apply,
    norm_backward,
    pooled_apply,
    pooled_backward,
)
from engine.kernels.operations import HAS_TRITON, INTERPRETED
from engine.kernels.written_block import philox

from .interpreter import check_operations, passes_in_the_interpreter
from .small_tiles import choose

EPS, MOMENTUM = 1e-5, 0.1
# Images, channels, height and width; views; groups of a view. Channels that fill a tile, leave some
# of it empty, or need two; odd sizes; one group.
SHAPES = [
    ((8, 16, 6, 8), 2, 2),
    ((6, 5, 7, 9), 1, 3),
    ((4, 1, 2, 2), 2, 1),
    ((3, 19, 9, 11), 1, 1),
    ((4, 130, 3, 3), 1, 2),
]
cases = pytest.mark.parametrize(
    ("shape", "views", "splits", "dtype"),
    [
        *((*sizes, torch.float32) for sizes in SHAPES),
        *((*sizes, torch.bfloat16) for sizes in SHAPES[:2]),
    ],
)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that groups of a few pixels have several parts, and parts several tiles."""
    choose(monkeypatch, tile=512, programs=6)


def channels_last(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)


def case(
    shape: Sequence[int], dtype: torch.dtype = torch.float32, mean: float = 2.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Values with a mean that is not small beside their spread, weight and bias."""
    torch.manual_seed(sum(shape))
    x = channels_last((torch.randn(tuple(shape)) + mean).to(dtype)).requires_grad_()
    weight = (torch.rand(shape[1]) + 0.5).requires_grad_()
    return x, weight, torch.randn(shape[1]).requires_grad_()


def statistics(x: Tensor, views: int, splits: int) -> tuple[Tensor, ...]:
    """Mean, inverse, running mean, running variance, count."""
    running = (torch.full((x.shape[1],), 3.0), torch.full((x.shape[1],), 5.0), torch.tensor(7))
    mean, inverse = group_statistics(x.detach(), *running, views, splits, EPS, MOMENTUM)
    return mean, inverse, *running


def members(images: int, views: int, splits: int) -> list[list[int]]:
    """The images of each group: of view v and group s those with n mod splits = s."""
    batch = images // views
    return [
        [n for n in range(view * batch, (view + 1) * batch) if n % batch % splits == split]
        for view in range(views)
        for split in range(splits)
    ]


def normalised(x: Tensor, weight: Tensor, bias: Tensor, views: int, splits: int) -> Tensor:
    """BatchNorm of each group on its own, in float64."""
    out = torch.zeros_like(x)
    for rows in members(len(x), views, splits):
        part = F.batch_norm(x[rows], None, None, weight, bias, True, 0.1, EPS)
        out = out.index_put((torch.tensor(rows),), part)
    return out


def doubled(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


def distance(ours: Tensor | None, exact: Tensor | None) -> float:
    """Length of the difference over that of the exact values."""
    assert ours is not None
    assert exact is not None
    return float((ours.detach().double() - exact).norm() / exact.norm().clamp(min=1e-12))


def bound(dtype: torch.dtype) -> float:
    # A rounding to bfloat16 is off by 2**-9 of a value at most; the interpreter cuts off: 2**-8.
    return 3e-6 if dtype == torch.float32 else 5e-3


@cases
def test_the_statistics_are_those_of_each_group(
    shape: tuple[int, ...], views: int, splits: int, dtype: torch.dtype
) -> None:
    x, _, _ = case(shape, dtype)
    mean, inverse, running_mean, running_var, count = statistics(x, views, splits)
    groups = [x.detach().double()[rows] for rows in members(len(x), views, splits)]
    for number, group in enumerate(groups):
        assert distance(mean[number], group.mean((0, 2, 3))) < 1e-6
        variance = group.var((0, 2, 3), correction=0)
        assert distance(inverse[number], 1 / (variance + EPS).sqrt()) < 1e-5
    expected_mean, expected_var = torch.full((shape[1],), 3.0), torch.full((shape[1],), 5.0)
    for view in range(views):  # as separate passes, each of which moves by the mean of its groups
        of_view = groups[view * splits : (view + 1) * splits]
        means = torch.stack([group.mean((0, 2, 3)) for group in of_view]).mean(0)
        variances = torch.stack([group.var((0, 2, 3)) for group in of_view]).mean(0)
        expected_mean = 0.9 * expected_mean + 0.1 * means
        expected_var = 0.9 * expected_var + 0.1 * variances
    assert distance(running_mean, expected_mean) < 1e-6
    assert distance(running_var, expected_var) < 1e-6
    assert int(count) == 7 + views


@pytest.mark.parametrize("mean", [1e3, 1e5])
def test_a_mean_far_from_zero_costs_the_variance_nothing(mean: float) -> None:
    """Squares of such values would leave no digit of a variance of 1."""
    x, _, _ = case((6, 5, 16, 16), mean=mean)
    with torch.no_grad():
        x[0] += 5.0  # the first tile is not like the others
    found = statistics(x, 1, 1)
    exact = x.detach().double()
    assert distance(found[0][0], exact.mean((0, 2, 3))) < 1e-7
    variance = exact.var((0, 2, 3), correction=0)
    assert distance(found[1][0], 1 / (variance + EPS).sqrt()) < 1e-5
    assert distance(found[3], 0.9 * 5.0 + 0.1 * exact.var((0, 2, 3))) < 1e-6


@cases
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_is_that_of_float64(
    residual: bool,
    relu: bool,
    shape: tuple[int, ...],
    views: int,
    splits: int,
    dtype: torch.dtype,
) -> None:
    x, weight, bias = case(shape, dtype)
    other = channels_last(torch.randn(shape).to(dtype)).requires_grad_() if residual else None
    mean, inverse, *_ = statistics(x, views, splits)
    out = norm_apply(x, other, mean, inverse, weight, bias, views, relu)
    grad = channels_last(torch.randn(shape).to(dtype))
    out.backward(grad)
    inputs = [x, weight, bias] + ([other] if other is not None else [])
    exact = doubled(*inputs)
    expected = normalised(exact[0], exact[1], exact[2], views, splits)
    if residual:
        expected = expected + exact[3]
    # Where the exact value rounds to the other side of zero, there is no right gradient.
    open_ = (out.detach() > 0).double() if relu else torch.ones(shape)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert distance(out, expected.relu().detach() if relu else expected.detach()) < bound(dtype)
    (expected * open_).backward(grad.double())
    for ours, theirs in zip(inputs, exact, strict=True):
        assert distance(ours.grad, theirs.grad) < 3 * bound(dtype)


def kept_units(seed: int, shape: Sequence[int], p: float) -> Tensor:
    """Which units stay, ``(N, C, H // 2 * 2, W // 2 * 2)``, by Philox in plain integers."""
    n, c, h, w = shape[0], shape[1], shape[2] // 2, shape[3] // 2
    kept = torch.zeros(n, c, 2 * h, 2 * w)
    place = 0
    for image in range(n):
        for y in range(h):
            for x in range(w):
                for channel in range(c):
                    words = philox_of_integers(seed, place)
                    for number, word in enumerate(words):
                        row, column = 2 * y + number // 2, 2 * x + number % 2
                        kept[image, channel, row, column] = word / 2**32 >= p
                    place += 1
    return kept


def philox_of_integers(key: int, counter: int) -> list[int]:
    """Philox4x32-10 (Salmon et al., SC 2011), in plain integers."""
    low, high = key & 0xFFFFFFFF, key >> 32
    words = [counter & 0xFFFFFFFF, counter >> 32, 0, 0]
    for _ in range(10):
        one, two = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [
            two >> 32 ^ words[1] ^ low,
            two & 0xFFFFFFFF,
            one >> 32 ^ words[3] ^ high,
            one & 0xFFFFFFFF,
        ]
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return words


def test_the_random_numbers_are_those_of_philox() -> None:
    """The plain integers are held to a known answer of its authors, and ours to those."""
    zeros = philox_of_integers(0, 0)
    assert zeros == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # Random123's kat_vectors
    places = torch.tensor([0, 1, 77, 2**33 + 5])
    for seed in (0, 1, 2**62 - 12345):
        ours = torch.stack(philox(torch.tensor([seed]), places), 1).tolist()
        assert ours == [philox_of_integers(seed, place) for place in places.tolist()]


def test_groups_of_several_parts_and_tiles_are_among_the_cases() -> None:
    """Else the tests would leave the merging of parts and the loops over tiles out."""
    made = [
        group_tiles.tiles(n // (views * splits) * h * w, views * splits, c, CHOICES["apply"])
        for (n, c, h, w), views, splits in SHAPES
    ]
    assert any(tiles.parts > 1 and tiles.rows_per_part > tiles.rows for tiles in made)
    assert any(tiles.column_blocks > 1 for tiles in made)


def test_the_size_of_tiles_changes_roundings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for programs, tile in ((6, 512), (528, 4096)):
        choose(monkeypatch, tile=tile, programs=programs)
        x, weight, bias = case((4, 24, 11, 9))
        mean, inverse, *_ = statistics(x, 1, 2)
        out = norm_apply(x, None, mean, inverse, weight, bias, 1, True)
        out = pooled_apply(out, mean, inverse, weight, bias, torch.tensor([2]), 1, 0.3, True)[0]
        found.append([out, *torch.autograd.grad((out * out).sum(), (x, weight, bias))])
    for one, other in zip(*found, strict=True):
        assert distance(one, other.detach().double()) < 1e-5


@cases
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_a_pooled_block_is_that_of_float64(
    p: float, shape: tuple[int, ...], views: int, splits: int, dtype: torch.dtype
) -> None:
    """Output, winners and gradients; forward and backward drop the same units, an oracle's."""
    x, weight, bias = case(shape, dtype)
    seed = 2**61 + 99
    mean, inverse, *_ = statistics(x, views, splits)
    out, winner = pooled_apply(x, mean, inverse, weight, bias, torch.tensor([seed]), views, p, True)
    grad = channels_last(torch.randn(out.shape).to(dtype))
    out.backward(grad)
    exact = doubled(x, weight, bias)
    values = normalised(exact[0], exact[1], exact[2], views, splits)
    height, width = shape[2] // 2 * 2, shape[3] // 2 * 2
    values = values[:, :, :height, :width]
    if p > 0.0:
        values = values * kept_units(seed, shape, p) / (1.0 - p)
    expected = F.relu(F.max_pool2d(values, 2))
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert distance(out, expected.detach()) < bound(dtype)
    cells = torch.stack([values[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    best, number = cells.detach().max(0)
    theirs = torch.where(best > 0, number, 4)
    assert (winner != theirs).double().mean() < 1e-3  # a tie of roundings
    picked = torch.where(
        winner < 4, cells.gather(0, winner.clamp(max=3).long()[None])[0], torch.zeros(())
    )
    picked.backward(grad.double())
    for ours, right in zip((x, weight, bias), exact, strict=True):
        assert distance(ours.grad, right.grad) < 3 * bound(dtype)
    if not p:
        without, none = pooled_apply(
            x.detach(), mean, inverse, weight, bias, torch.tensor([seed]), views, p, False
        )
        assert torch.equal(without, out)
        assert none.numel() == 0


def test_gradients_are_those_of_finite_differences() -> None:
    """Of a block with a residual and of a pooled one with dropout, towards every value."""
    shape, views, splits, step = (4, 1, 2, 3), 1, 2, 2e-3
    x, weight, bias = case(shape)
    with torch.no_grad():
        weight += 1.0
    seed = torch.tensor([5])
    toward = torch.randn(shape)

    def block(*inputs: Tensor) -> Tensor:
        values = channels_last(inputs[0])
        mean, inverse, *_ = statistics(values, views, splits)
        made: Tensor = norm_apply(values, values, mean, inverse, *inputs[1:], views, False)
        return made * toward

    def pooled(*inputs: Tensor) -> Tensor:
        values = channels_last(inputs[0])
        mean, inverse, *_ = statistics(values, views, splits)
        made: Tensor = pooled_apply(values, mean, inverse, *inputs[1:], seed, views, 0.25, True)[0]
        return made * toward[:, :, :1, :1]

    for function in (block, pooled):
        gradients = torch.autograd.grad(function(x, weight, bias).sum(), (x, weight, bias))
        assert all(float(gradient.norm()) > 0.1 for gradient in gradients)
        for number, gradient in enumerate(gradients):
            for place in range(0, gradient.numel(), 2):
                values = []
                for sign in (1.0, -1.0):
                    moved = [t.detach().clone() for t in (x, weight, bias)]
                    place_of = torch.unravel_index(torch.tensor(place), gradient.shape)
                    moved[number][place_of] += sign * step
                    values.append(function(*moved).double().sum())
                slope = float(values[0] - values[1]) / (2 * step)
                there = float(gradient[torch.unravel_index(torch.tensor(place), gradient.shape)])
                assert there == pytest.approx(slope, abs=3e-3, rel=3e-3)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_each_of_four_units_is_dropped_with_the_probability(
    p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of units that are all 1 the first that is kept wins. Within 5 standard errors."""
    choose(monkeypatch, tile=1024, programs=6)
    x = channels_last(torch.randn(8, 32, 12, 12))
    zeros, ones = torch.zeros(32), torch.ones(32)
    mean, inverse, *_ = statistics(x, 1, 1)
    out, winner = pooled_apply(x, mean, inverse, zeros, ones, torch.tensor([3]), 1, p, True)
    count = winner.numel()
    shares = [(1 - p) * p**number for number in range(4)] + [p**4]
    for number, share in enumerate(shares):
        found = float((winner == number).double().mean())
        assert abs(found - share) < 5 * (share * (1 - share) / count) ** 0.5
    # Kept units are divided by 1 - p, so that the mean of a unit is what it was.
    assert distance(out[winner < 4], torch.full_like(out[winner < 4], 1 / (1 - p)).double()) < 1e-6
    assert float(out[winner == 4].abs().sum()) == 0.0


def test_one_seed_drops_the_same_units_and_another_others() -> None:
    x, weight, bias = case((4, 8, 8, 8))
    mean, inverse, *_ = statistics(x, 1, 2)
    results = [
        pooled_apply(x, mean, inverse, weight, bias, torch.tensor([seed]), 1, 0.5, True)[1]
        for seed in (1, 2**40, 1)
    ]
    assert torch.equal(results[0], results[2])
    assert float((results[0] != results[1]).double().mean()) > 0.3


def test_everything_repeats_bit_by_bit() -> None:
    def all_of_it() -> list[Tensor]:
        x, weight, bias = case((6, 5, 7, 9))
        mean, inverse, *running = statistics(x, 1, 3)
        by_channel = (mean, inverse, weight, bias)
        out = norm_apply(x, x, *by_channel, 1, True)
        back = norm_backward(out, x, out, *by_channel, 1, True)
        pooled, winner = pooled_apply(x, *by_channel, torch.tensor([4]), 1, 0.2, True)
        pooled_back = pooled_backward(pooled, x, winner, *by_channel[:3], 1, 0.2)
        return [mean, inverse, *running, out, *back, pooled, winner, *pooled_back]

    for one, other in zip(all_of_it(), all_of_it(), strict=True):
        assert torch.equal(one, other)


def test_what_is_no_number_is_not_hidden() -> None:
    """By ReLU or pooling: a run that ends in it has to say so."""
    x, weight, bias = case((4, 3, 4, 4))
    with torch.no_grad():
        x[0, 1, 2, 3] = torch.nan
    mean, inverse, *_ = statistics(x, 1, 2)
    out = norm_apply(x, None, mean, inverse, weight, bias, 1, True)
    pooled = pooled_apply(x, mean, inverse, weight, bias, torch.tensor([1]), 1, 0.0, True)[0]
    for found in (out, pooled):
        assert found[[0, 2], 1].isnan().all()  # its group and channel
        assert found[[1, 3]].isfinite().all()
        assert found[:, [0, 2]].isfinite().all()


@pytest.mark.skipif(INTERPRETED, reason="the interpreter cannot be traced")
def test_the_operations_are_what_torch_takes_them_for() -> None:
    """Schemas, shapes without values, gradients: by torch's own check of operations."""
    x, weight, bias = case((8, 5, 7, 6), torch.bfloat16)
    running = (torch.zeros(5), torch.ones(5), torch.tensor(0))
    mean, inverse = group_statistics(x.detach(), *running, 2, 2, EPS, MOMENTUM)
    by_channel = (mean, inverse, weight, bias)
    plain = tuple(values.detach() for values in by_channel)
    seed = torch.tensor([1])
    out, winner = pooled_apply(x, *by_channel, seed, 2, 0.3, True)
    cases = [
        (group_statistics, (x.detach(), *running, 2, 2, EPS, MOMENTUM)),
        (norm_apply, (x, None, *by_channel, 2, True)),
        (norm_apply, (x, x.detach(), *by_channel, 2, True)),
        (norm_backward, (x.detach(), x.detach(), None, *plain, 2, True)),
        (norm_backward, (x.detach(), x.detach(), x.detach(), *plain, 2, True)),
        (pooled_apply, (x, *by_channel, seed, 2, 0.3, True)),
        (pooled_apply, (x.detach(), *plain, seed, 2, 0.0, False)),
        (pooled_backward, (out.detach(), x.detach(), winner, *plain[:3], 2, 0.3)),
    ]
    check_operations(cases)


@pytest.mark.skipif(not HAS_TRITON, reason="needs triton")
@pytest.mark.skipif(INTERPRETED, reason="is the one that runs the others")
def test_the_kernels_pass_these_tests_in_the_interpreter() -> None:
    said = passes_in_the_interpreter(__file__)
    assert "2 skipped" in said  # this one and the one above
