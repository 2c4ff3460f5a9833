"""A batch in parts, each on a thread of its own, against the whole in float64."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.block import KEEP_ALL, pooled_block
from engine.native.library import LEVELS, library
from engine.native.parted_block import parted_block, parted_pooled_block
from engine.native.parts import Parts, Seat

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the kernels were not built")
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
EPS = 1e-5

every_level = pytest.mark.parametrize("level", AVAILABLE)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
# The last: a part of one image of one pooled pixel.
batches = pytest.mark.parametrize(
    ("sizes", "rest"),
    [((4,), (32, 6, 6)), ((3, 2), (19, 7, 5)), ((1, 4, 2), (8, 4, 4)), ((2, 1), (3, 2, 2))],
    ids=str,
)
Work = Callable[[slice, Seat], Any]


def in_parts(sizes: tuple[int, ...], work: Work) -> list[Any]:
    """What each part gives, each from a thread of its own."""
    parts = Parts(len(sizes))
    parts.sizes = sizes
    edges = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    with ThreadPoolExecutor(len(sizes)) as pool:
        futures = [
            pool.submit(work, slice(*edge), Seat(parts, i, 0))
            for i, edge in enumerate(pairwise(edges))
        ]
        return [future.result() for future in futures]


def distance(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm())


def bound(dtype: torch.dtype) -> float:
    return 2e-6 if dtype == torch.float32 else 2.5e-3


def drawn(sizes: tuple[int, ...], rest: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Input, residual, weight and bias; the parts have means far apart."""
    torch.manual_seed(0)
    shape = (sum(sizes), *rest)
    away = torch.arange(shape[0]).view(-1, 1, 1, 1).float()
    x, residual = ((torch.randn(shape) + away).to(dtype), torch.randn(shape).to(dtype))
    return [x, residual, torch.rand(rest[0]) + 0.5, torch.randn(rest[0])]


@every_level
@both_dtypes
@batches
def test_a_pooled_block_in_parts_is_that_of_the_whole(
    level: str, dtype: torch.dtype, sizes: tuple[int, ...], rest: tuple[int, ...]
) -> None:
    x, _, weight, bias = drawn(sizes, rest, dtype)
    grad = torch.randn(len(x), rest[0], rest[1] // 2, rest[2] // 2).to(dtype)

    def work(rows: slice, seat: Seat) -> list[Tensor]:
        own = [t.clone().requires_grad_() for t in (x[rows], weight, bias)]
        out, mean, variance = parted_pooled_block(
            *own, eps=EPS, keep=KEEP_ALL, seed=0, level=level, seat=seat
        )
        return [out.detach(), mean, variance, *torch.autograd.grad(out, own, grad[rows])]

    found = list(zip(*in_parts(sizes, work), strict=True))
    exact = [t.double().requires_grad_() for t in (x, weight, bias)]
    normal = F.batch_norm(exact[0], None, None, exact[1], exact[2], True, 0.1, EPS)
    expected = F.relu(F.max_pool2d(normal, 2))
    grads = torch.autograd.grad(expected, exact, grad.double())
    assert distance(torch.cat(found[0]), expected.detach()) < bound(dtype)
    for mean, variance in zip(*found[1:3], strict=True):
        assert torch.equal(mean, found[1][0])
        assert distance(mean, exact[0].detach().mean((0, 2, 3))) < 1e-6
        assert distance(variance, exact[0].detach().var((0, 2, 3))) < 1e-5
    assert distance(torch.cat(found[3]), grads[0]) < 2 * bound(dtype)
    for shares, whole in zip(found[4:], grads[1:], strict=True):
        assert distance(torch.stack(shares).sum(0), whole) < 2 * bound(dtype)


@every_level
@both_dtypes
@batches
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_in_parts_is_that_of_the_whole(
    level: str,
    dtype: torch.dtype,
    sizes: tuple[int, ...],
    rest: tuple[int, ...],
    relu: bool,
    residual: bool,
) -> None:
    x, more, weight, bias = drawn(sizes, rest, dtype)
    grad = torch.randn(x.shape).to(dtype)

    def work(rows: slice, seat: Seat) -> list[Tensor]:
        own = [t.clone().requires_grad_() for t in (x[rows], weight, bias, more[rows])]
        own = own if residual else own[:3]
        out, *_ = parted_block(*own, relu=relu, eps=EPS, level=level, seat=seat)
        return [out.detach(), *torch.autograd.grad(out, own, grad[rows])]

    found = list(zip(*in_parts(sizes, work), strict=True))
    exact = [t.double().requires_grad_() for t in (x, weight, bias, more)]
    expected = F.batch_norm(exact[0], None, None, exact[1], exact[2], True, 0.1, EPS)
    expected = expected + exact[3] if residual else expected
    if relu:
        # Where our value is zero, so that a unit beside zero does not open on one side alone.
        expected = expected * (torch.cat(found[0]) > 0)
    grads = torch.autograd.grad(expected, exact if residual else exact[:3], grad.double())
    assert distance(torch.cat(found[0]), expected.detach()) < bound(dtype)
    assert distance(torch.cat(found[1]), grads[0]) < 2 * bound(dtype)
    for i in (1, 2):
        assert distance(torch.stack(found[i + 1]).sum(0), grads[i]) < 2 * bound(dtype)
    if residual:
        assert distance(torch.cat(found[4]), grads[3]) < bound(dtype)


@every_level
def test_the_units_that_drop_out_are_those_of_the_whole(level: str) -> None:
    one = torch.ones(16)
    x = torch.zeros(6, 16, 8, 8)
    options: dict[str, Any] = {"eps": EPS, "keep": 90, "seed": 5, "level": level}
    whole, *_ = pooled_block(x, one, one, **options)
    assert 0 < int((whole == 0).sum()) < whole.numel()
    for sizes in ((6,), (3, 3), (1, 4, 1)):
        parts = in_parts(
            sizes,
            lambda rows, seat: parted_pooled_block(x[rows], one, one, seat=seat, **options)[0],
        )
        assert torch.equal(torch.cat(parts), whole)


def test_a_part_that_fails_lets_no_other_wait() -> None:
    parts = Parts(2)
    parts.sizes = (1, 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(parts.exchange, 0, 0, torch.zeros(1))
        parts.abort()
        with pytest.raises(threading.BrokenBarrierError):
            waiting.result(timeout=60)
    parts.reset()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(parts.exchange, 0, 0, torch.zeros(1))
        assert parts.exchange(0, 1, torch.ones(1)).tolist() == [[0.0], [1.0]]
        assert other.result(timeout=60).tolist() == [[0.0], [1.0]]
