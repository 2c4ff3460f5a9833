"""BatchNorm, dropout, pooling and ReLU in C against the same in float64, layer by layer."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.block import (
    KEEP_ALL,
    block,
    pooled_block,
    running_block,
    running_pooled_block,
)
from engine.native.library import LEVELS, library

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the kernels were not built")
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
EPS = 1e-5

every_level = pytest.mark.parametrize("level", AVAILABLE)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
# Channels that fill registers, and that do not; odd sizes, whose last row and column drop out.
shapes = pytest.mark.parametrize(
    "shape", [(6, 32, 8, 8), (3, 5, 7, 9), (2, 19, 3, 2), (4, 1, 2, 2)]
)


def leaf(values: Tensor) -> Tensor:
    return values.detach().contiguous(memory_format=torch.channels_last).requires_grad_()


def parameters(channels: int) -> tuple[Tensor, Tensor]:
    return (torch.rand(channels) + 0.5).requires_grad_(), torch.randn(channels).requires_grad_()


def doubled(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().double().requires_grad_() for tensor in tensors]


def distance(ours: Tensor | None, exact: Tensor | None) -> float:
    """Length of the difference over that of the exact values."""
    assert ours is not None
    assert exact is not None
    return float((ours.detach().double() - exact).norm() / exact.norm())


def bound(dtype: torch.dtype) -> float:
    # Rounding to bfloat16 is off by 2**-9 at most, evenly spread: 2**-9 / sqrt(3) of the length.
    return 2e-6 if dtype == torch.float32 else 2.5e-3


@every_level
@both_dtypes
@shapes
def test_a_pooled_block_is_that_of_float64(
    level: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x = leaf((torch.randn(shape) + 3.0).to(dtype))  # a mean that is not small beside the spread
    weight, bias = parameters(shape[1])
    out, mean, variance = pooled_block(x, weight, bias, eps=EPS, keep=KEEP_ALL, seed=0, level=level)
    grad = torch.randn_like(out)
    out.backward(grad)
    exact = doubled(x, weight, bias)
    expected = F.relu(
        F.max_pool2d(F.batch_norm(exact[0], None, None, exact[1], exact[2], True, 0.1, EPS), 2)
    )
    expected.backward(grad.double())
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert distance(out, expected.detach()) < bound(dtype)
    for ours, theirs in zip((x, weight, bias), exact, strict=True):
        assert distance(ours.grad, theirs.grad) < 2 * bound(dtype)
    assert distance(mean, exact[0].detach().mean((0, 2, 3))) < 1e-6
    assert distance(variance, exact[0].detach().var((0, 2, 3))) < 1e-5


@every_level
@both_dtypes
@shapes
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_is_that_of_float64(
    level: str, dtype: torch.dtype, shape: tuple[int, ...], relu: bool, residual: bool
) -> None:
    torch.manual_seed(0)
    x, more = leaf((torch.randn(shape) - 1.0).to(dtype)), leaf(torch.randn(shape).to(dtype))
    weight, bias = parameters(shape[1])
    out, mean, variance = block(
        x, weight, bias, more if residual else None, relu=relu, eps=EPS, level=level
    )
    grad = torch.randn_like(out)
    out.backward(grad)
    exact = doubled(x, weight, bias, more)
    expected = F.batch_norm(exact[0], None, None, exact[1], exact[2], True, 0.1, EPS)
    if residual:
        expected = expected + exact[3]
    if relu:
        # Where our value is zero, so that a unit beside zero does not open on one side alone.
        expected = expected * (out.detach() > 0)
    expected.backward(grad.double())
    assert distance(out, expected.detach()) < bound(dtype)
    for ours, theirs in zip((x, weight, bias), exact[:3], strict=True):
        assert distance(ours.grad, theirs.grad) < 2 * bound(dtype)
    if residual:
        assert distance(more.grad, exact[3].grad) < bound(dtype)
    assert distance(mean, exact[0].detach().mean((0, 2, 3))) < 1e-6
    assert distance(variance, exact[0].detach().var((0, 2, 3))) < 1e-5


@every_level
@both_dtypes
@shapes
def test_running_statistics_are_used_as_in_float64(
    level: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x, more = (torch.randn(shape) + 2.0).to(dtype), torch.randn(shape).to(dtype)
    weight, bias = (tensor.detach() for tensor in parameters(shape[1]))
    mean, variance = torch.randn(shape[1]) + 2.0, torch.rand(shape[1]) + 0.1
    values = (weight, bias, mean, variance)
    exact = F.batch_norm(
        x.double(), mean.double(), variance.double(), weight.double(), bias.double(), eps=EPS
    )
    out = running_pooled_block(x, *values, eps=EPS, level=level)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert distance(out, F.relu(F.max_pool2d(exact, 2))) < bound(dtype)
    for residual in (None, more):
        whole = exact if residual is None else exact + residual.double()
        for relu in (True, False):
            out = running_block(x, *values, residual, relu=relu, eps=EPS, level=level)
            assert out.dtype == dtype
            assert distance(out, F.relu(whole) if relu else whole) < bound(dtype)


@every_level
def test_gradients_are_those_of_finite_differences(level: str) -> None:
    """Of one sum over the output, against values moved a little, with dropout."""
    torch.manual_seed(0)
    x, probe = leaf(torch.randn(3, 4, 4, 6)), torch.randn(3, 4, 2, 3)
    weight, bias = parameters(4)

    def total(values: Tensor, w: Tensor, b: Tensor) -> Tensor:
        out, _, _ = pooled_block(values, w, b, eps=EPS, keep=180, seed=9, level=level)
        return (out.double() * probe.double()).sum()

    total(x, weight, bias).backward()
    for i, tensor in enumerate((x, weight, bias)):
        direction = torch.randn_like(tensor)
        moved = [
            [
                t.detach() + sign * 1e-3 * direction if j == i else t.detach()
                for j, t in enumerate((x, weight, bias))
            ]
            for sign in (1, -1)
        ]
        slope = float(total(*moved[0]) - total(*moved[1])) / 2e-3
        assert tensor.grad is not None
        assert slope == pytest.approx(float((tensor.grad * direction).sum()), rel=2e-2, abs=2e-3)


@every_level
@pytest.mark.parametrize("keep", [1, 128, 179, 255])
def test_dropout_keeps_the_share_and_the_mean(level: str, keep: int) -> None:
    """Values without a spread are normalised to zero, so that what is left is the bias of one."""
    x = torch.full((64, 32, 16, 16), 5.0).contiguous(memory_format=torch.channels_last)
    one = torch.ones(32)
    out, _, _ = pooled_block(x, one, one, eps=EPS, keep=keep, seed=11, level=level)
    share = (keep / 256) if keep else 0.0
    closed = (1 - share) ** 4  # all four inputs of a pooled value
    n = out.numel()
    found = float((out == 0).double().mean())
    assert abs(found - closed) < 5 * math.sqrt(closed * (1 - closed) / n) + 1e-12
    open_values = out[out > 0]
    torch.testing.assert_close(open_values, torch.full_like(open_values, 256 / keep))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_seed_drops_the_same_units_at_every_level_and_another_seed_others(
    dtype: torch.dtype,
) -> None:
    x = torch.zeros(4, 7, 10, 10, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.ones(7), torch.ones(7)

    def dropped(seed: int, level: str) -> Tensor:
        return pooled_block(x, weight, bias, eps=EPS, keep=64, seed=seed, level=level)[0] == 0

    for seed in (0, 1, 2**63 - 1):
        first = dropped(seed, AVAILABLE[0])
        assert all(torch.equal(dropped(seed, level), first) for level in AVAILABLE)
        assert not torch.equal(first, dropped(seed ^ 2, AVAILABLE[0]))
    images = dropped(5, AVAILABLE[0]).flatten(1).double()
    # Rows of one draw are independent of each other.
    assert float(torch.corrcoef(images).fill_diagonal_(0.0).abs().max()) < 0.35


def test_random_bytes_are_those_of_philox() -> None:
    """Through what they drop, against the generator written out in Python's integers."""

    def philox(counter: list[int], key: list[int]) -> list[int]:
        for _ in range(7):
            p, q = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
            counter = [
                (q >> 32) ^ counter[1] ^ key[0],
                q & 0xFFFFFFFF,
                (p >> 32) ^ counter[3] ^ key[1],
                p & 0xFFFFFFFF,
            ]
            key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
        return counter

    seed = 0x123456789ABCDEF0
    channels, stream = 64, 1  # the second image, whose two rows of two pixels take 256 bytes
    drawn = b""
    for start in (0, 8):
        words = [
            philox([start + i, 0, stream, 0], [seed & 0xFFFFFFFF, seed >> 32]) for i in range(8)
        ]
        for first in (0, 2):
            for word in words:
                drawn += word[first].to_bytes(4, "little") + word[first + 1].to_bytes(4, "little")
    kept = torch.tensor(list(drawn)).view(2, 2, channels) < 100
    x = torch.zeros(2, channels, 2, 2).contiguous(memory_format=torch.channels_last)
    one = torch.ones(channels)
    for level in AVAILABLE:
        out, _, _ = pooled_block(x, one, one, eps=EPS, keep=100, seed=seed, level=level)
        assert torch.equal(out[1, :, 0, 0] > 0, kept.flatten(0, 1).any(0))


@every_level
@both_dtypes
def test_what_is_no_number_is_not_hidden(level: str, dtype: torch.dtype) -> None:
    x = torch.randn(4, 16, 6, 6).to(dtype)
    x[2, 3, 1, 1] = math.nan
    x[1, 5, 2, 2] = math.inf
    x = leaf(x)
    weight, bias = parameters(16)
    for out in (
        pooled_block(x, weight, bias, eps=EPS, keep=200, seed=1, level=level)[0],
        block(x, weight, bias, relu=True, eps=EPS, level=level)[0],
    ):
        broken = out.isnan().flatten(2).any(2).any(0)
        assert broken[3]
        assert broken[5]
        assert int(broken.sum()) == 2
        (grad,) = torch.autograd.grad(out.float().sum(), x)
        assert grad[:, 3].isnan().any()
        assert not grad[:, 4].isnan().any()


@every_level
def test_the_default_memory_format_gives_the_same_bits(level: str) -> None:
    x, weight, bias = torch.randn(4, 8, 6, 6), *parameters(8)
    last = x.contiguous(memory_format=torch.channels_last)
    ours = [
        pooled_block(v, weight, bias, eps=EPS, keep=99, seed=1, level=level)[0] for v in (x, last)
    ]
    assert torch.equal(*ours)


@every_level
def test_values_without_a_spread_and_of_one_kind_stay_finite(level: str) -> None:
    x = leaf(torch.full((2, 3, 2, 2), 1e4))
    weight, bias = parameters(3)
    out, _, variance = pooled_block(x, weight, bias, eps=EPS, keep=KEEP_ALL, seed=0, level=level)
    out.sum().backward()
    assert torch.equal(variance, torch.zeros(3))
    torch.testing.assert_close(out[0, :, 0, 0], F.relu(bias))
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
