"""The first convolution against plain loops and float64; see ``test_group_block``."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels.operations import HAS_TRITON, INTERPRETED
from engine.kernels.stem_block import stem, stem_backward, stem_statistics

from .interpreter import check_operations, passes_in_the_interpreter
from .small_tiles import choose

EPS, MOMENTUM = 1e-5, 0.1
# Images, height and width; output channels; padding; views; groups of a view. Channels that fill a
# tile or leave some of it empty, or need two; odd sizes; one group; a single pixel.
CASES = [
    ((8, 6, 8), 32, 0, 2, 2),
    ((6, 7, 5), 5, 1, 1, 3),
    ((3, 9, 11), 16, 1, 1, 1),
    ((4, 3, 3), 20, 0, 2, 1),
    ((2, 4, 5), 130, 0, 1, 2),
]
cases = pytest.mark.parametrize(("shape", "channels", "padding", "views", "splits"), CASES)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are several parts, and parts of several tiles."""
    choose(monkeypatch, tile=512, programs=4)


def case(shape: Sequence[int], channels: int, mean: float = 1.0) -> tuple[Tensor, Tensor]:
    """Values that bfloat16 holds: the interpreter would cut off what it does not."""
    torch.manual_seed(channels + sum(shape))
    n, h, w = shape
    x = (torch.randn(n, 3, h, w) + mean).bfloat16().float()
    weight = (torch.randn(channels, 3, 3, 3) / 5).bfloat16().float()
    return x.contiguous(memory_format=torch.channels_last), weight.requires_grad_()


def rounded(values: Tensor) -> Tensor:
    """To bfloat16 and exactly to float64."""
    return values.detach().bfloat16().double()


def looped(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """The convolution by its definition, a sum over window and channels for each place."""
    n, _, h, w = x.shape
    below, across = h + 2 * padding - 2, w + 2 * padding - 2
    wide = torch.zeros(n, 3, h + 2 * padding, w + 2 * padding, dtype=x.dtype)
    wide[:, :, padding : padding + h, padding : padding + w] = x
    out = torch.zeros(n, len(weight), below, across, dtype=x.dtype)
    for y in range(below):
        for left in range(across):
            window = wide[:, None, :, y : y + 3, left : left + 3]
            out[:, :, y, left] = (window * weight[None]).sum((2, 3, 4))
    return out


def members(images: int, views: int, splits: int) -> list[list[int]]:
    """The images of each group, as in ``test_group_block``."""
    batch = images // views
    return [
        [n for n in range(view * batch, (view + 1) * batch) if n % batch % splits == split]
        for view in range(views)
        for split in range(splits)
    ]


def distance(ours: Tensor, exact: Tensor) -> float:
    exact = exact.detach()
    return float((ours.detach().double() - exact).norm() / exact.norm().clamp(min=1e-12))


@cases
def test_the_output_is_that_of_plain_loops(
    shape: tuple[int, ...], channels: int, padding: int, views: int, splits: int
) -> None:
    x, weight = case(shape, channels)
    out, partial = stem(x, weight, padding, views, splits, False)
    expected = looped(rounded(x), rounded(weight), padding)
    assert out.dtype == torch.bfloat16
    assert out.shape == expected.shape
    assert out.is_contiguous(memory_format=torch.channels_last)
    # A rounding is off by 2**-9 of a value at most; the interpreter cuts off: 2**-8.
    assert distance(out, expected) < 5e-3
    assert partial.numel() == 0
    assert torch.equal(stem(x, weight, padding, views, splits, True)[0], out)


@cases
def test_the_statistics_are_those_of_the_rounded_output(
    shape: tuple[int, ...], channels: int, padding: int, views: int, splits: int
) -> None:
    """As ``group_statistics`` would find them; running ones move for one view after another."""
    x, weight = case(shape, channels)
    out, partial = stem(x, weight, padding, views, splits, True)
    running = (torch.full((channels,), 3.0), torch.full((channels,), 5.0), torch.tensor(7))
    mean, inverse = stem_statistics(partial, *running, out[:, 0].numel(), views, EPS, MOMENTUM)
    groups = [out.double()[rows] for rows in members(len(x), views, splits)]
    for number, group in enumerate(groups):
        assert distance(mean[number], group.mean((0, 2, 3))) < 1e-6
        variance = group.var((0, 2, 3), correction=0)
        assert distance(inverse[number], 1 / (variance + EPS).sqrt()) < 1e-5
    expected_mean, expected_var = torch.full((channels,), 3.0), torch.full((channels,), 5.0)
    for view in range(views):
        of_view = groups[view * splits : (view + 1) * splits]
        means = torch.stack([group.mean((0, 2, 3)) for group in of_view]).mean(0)
        variances = torch.stack([group.var((0, 2, 3)) for group in of_view]).mean(0)
        expected_mean = 0.9 * expected_mean + 0.1 * means
        expected_var = 0.9 * expected_var + 0.1 * variances
    assert distance(running[0], expected_mean) < 1e-6
    assert distance(running[1], expected_var) < 1e-6
    assert int(running[2]) == 7 + views


def test_a_mean_far_from_zero_costs_the_variance_nothing() -> None:
    """Of an output whose mean is 1,000 times its spread, as bfloat16 has it."""
    x, weight = case((6, 12, 12), 16)
    with torch.no_grad():
        x.mul_(1e-3).add_(1.0)
        weight.abs_()
        x[0] += 0.5  # the first tile is not like the others
    out, partial = stem(x, weight, 0, 1, 1, True)
    running = (torch.zeros(16), torch.ones(16), torch.tensor(0))
    mean, inverse = stem_statistics(partial, *running, out[:, 0].numel(), 1, EPS, MOMENTUM)
    assert distance(mean[0], out.double().mean((0, 2, 3))) < 1e-7
    variance = out.double().var((0, 2, 3), correction=0)
    assert distance(inverse[0], 1 / (variance + EPS).sqrt()) < 1e-5


@cases
def test_the_gradient_is_that_of_plain_loops(
    shape: tuple[int, ...], channels: int, padding: int, views: int, splits: int
) -> None:
    x, weight = case(shape, channels)
    out, _ = stem(x, weight, padding, views, splits, True)
    grad = torch.randn(out.shape).bfloat16()
    out.backward(grad)
    exact = rounded(weight).requires_grad_()
    looped(rounded(x), exact, padding).backward(grad.double())
    assert weight.grad is not None
    assert exact.grad is not None
    assert weight.grad.dtype == torch.float32
    # Products of two bfloat16 are exact in float32; sums round.
    assert distance(weight.grad, exact.grad) < 1e-5


def test_images_that_are_bfloat16_give_the_same_bits() -> None:
    """As the kernel of the views makes them."""
    x, weight = case((6, 7, 5), 5)
    found: list[tuple[Tensor, ...]] = []
    for images in (x, x.bfloat16()):
        weight.grad = None
        out, partial = stem(images, weight, 1, 1, 3, True)
        out.backward(out.detach())
        assert weight.grad is not None
        found.append((out, partial, weight.grad, stem(images, weight, 1, 1, 3, False)[1]))
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_everything_repeats_bit_by_bit() -> None:
    def all_of_it() -> list[Tensor]:
        x, weight = case((6, 7, 5), 5)
        out, partial = stem(x, weight, 1, 1, 3, True)
        return [out, partial, stem_backward(out, x, 1)]

    for one, other in zip(all_of_it(), all_of_it(), strict=True):
        assert torch.equal(one, other)


def test_what_is_no_number_is_not_hidden() -> None:
    x, weight = case((4, 5, 5), 8)
    x[1, 2, 0, 0] = torch.nan
    out, partial = stem(x, weight, 0, 1, 2, True)
    running = (torch.zeros(8), torch.ones(8), torch.tensor(0))
    mean, inverse = stem_statistics(partial, *running, out[:, 0].numel(), 1, EPS, MOMENTUM)
    assert out[1, :, 0, 0].isnan().all()
    assert out[[0, 2, 3]].isfinite().all()
    for found in (mean, inverse):
        assert found[1].isnan().all()
        assert found[0].isfinite().all()


@pytest.mark.skipif(INTERPRETED, reason="the interpreter cannot be traced")
def test_the_operations_are_what_torch_takes_them_for() -> None:
    """Schemas, shapes without values, gradients: by torch's own check of operations."""
    x, weight = case((8, 6, 5), 5)
    out, partial = stem(x, weight, 1, 2, 2, True)
    running = (torch.zeros(5), torch.ones(5), torch.tensor(0))
    cases = [
        (stem, (x, weight, 1, 2, 2, True)),
        (stem, (x, weight.detach(), 0, 2, 2, False)),
        (stem, (x.bfloat16(), weight, 1, 2, 2, False)),
        (stem_statistics, (partial, *running, out[:, 0].numel(), 2, EPS, MOMENTUM)),
        (stem_backward, (out.detach(), x, 1)),
        (stem_backward, (out.detach(), x.bfloat16(), 1)),
    ]
    check_operations(cases)


@pytest.mark.skipif(INTERPRETED, reason="is what the interpreter is compared with")
def test_by_torch_it_is_what_autocast_computes() -> None:
    x, weight = case((4, 6, 6), 8)
    with torch.no_grad():
        x *= 1.001  # is rounded
    with torch.autocast("cpu", torch.bfloat16):
        expected = F.conv2d(x, weight, padding=1)
    assert torch.equal(stem(x, weight, 1, 1, 1, False)[0], expected)


@pytest.mark.skipif(not HAS_TRITON, reason="needs triton")
@pytest.mark.skipif(INTERPRETED, reason="is the one that runs the others")
def test_the_kernels_pass_these_tests_in_the_interpreter() -> None:
    said = passes_in_the_interpreter(__file__)
    assert "3 skipped" in said  # this one and the two above
