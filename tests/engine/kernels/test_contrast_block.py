"""The loss and what stands around it against the same in float64, numpy and plain loops.

As in ``test_group_block`` the tests run twice: on torch's own operations, and, in a process of its
own, on the kernels in Triton's interpreter.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels import contrast_plan
from engine.kernels.contrast_block import (
    contrast,
    enqueue,
    order_of,
    unit_rows,
    unit_rows_backward,
)
from engine.kernels.contrast_plan import Sizes
from engine.kernels.operations import HAS_TRITON, INTERPRETED

from .interpreter import check_operations, passes_in_the_interpreter

SMALL = Sizes(rows=32, keys=64, inner=16, mean_rows=16, width=32, step=16, stages=3)
# Pairs, keys, components, symmetric; sizes that fill tiles, and that leave some of them empty.
CASES = [
    (20, 192, 64, True),
    (13, 150, 37, True),
    (21, 65, 96, False),
    (1, 1, 2, False),
]
cases = pytest.mark.parametrize(("pairs", "size", "dim", "symmetric"), CASES)
on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few queries have several tiles, the queue chunks, and a chunk several parts."""
    monkeypatch.setattr(contrast_plan, "LARGE", SMALL)
    monkeypatch.setattr(contrast_plan, "CHUNK", 64 * 128)
    monkeypatch.setattr(contrast_plan, "PROGRAMS", 12)
    monkeypatch.setattr(contrast_plan, "MERGE_TILES", 2)


def unit(rows: int, dim: int, seed: int, device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator), dim=1).to(device)


def vectors(
    pairs: int, size: int, dim: int, symmetric: bool, device: str = "cpu", spread: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, their keys nearby, and a queue; ``spread`` below 1: all of them near one point."""
    n = 2 * pairs if symmetric else pairs
    middle = unit(1, dim, 9, device)
    query, noise, queue = (unit(rows, dim, seed, device) for seed, rows in enumerate((n, n, size)))
    query, queue = (F.normalize(middle + spread * (v - middle), dim=1) for v in (query, queue))
    images = torch.arange(n, device=device)
    partner = (images + pairs) % n if symmetric else images
    keys = F.normalize(query[partner] + 0.5 * noise, dim=1)
    return query, keys, queue


def exact(
    query: Tensor, keys: Tensor, queue: Tensor, temperature: float, symmetric: bool
) -> tuple[float, Tensor]:
    """The loss as a cross-entropy of 1 + K classes in float64, and its gradient by autograd."""
    q, k, negatives = (t.detach().double() for t in (query, keys, queue))
    q.requires_grad_()
    half = len(q) // 2
    directions = [(q[:half], k[half:]), (q[half:], k[:half])] if symmetric else [(q, k)]
    loss = torch.zeros((), dtype=torch.float64, device=q.device)
    for ours, positives in directions:
        logits = torch.cat([(ours * positives).sum(1, keepdim=True), ours @ negatives.T], 1)
        classes = torch.zeros(len(ours), dtype=torch.int64, device=q.device)
        loss = loss + F.cross_entropy(logits / temperature, classes)
    (gradient,) = torch.autograd.grad(loss, q)
    return float(loss.detach()), gradient


def distance(ours: Tensor | None, theirs: Tensor) -> float:
    assert ours is not None
    return float((ours.double() - theirs).norm() / theirs.norm().clamp(min=1e-30))


def errors(
    query: Tensor, keys: Tensor, queue: Tensor, temperature: float, symmetric: bool
) -> tuple[float, float]:
    """Relative, of the loss and of its gradient."""
    query = query.detach().requires_grad_()
    loss, _ = contrast(query, keys, queue, temperature, symmetric, True)
    (3.0 * loss).backward()
    right, gradient = exact(query, keys, queue, temperature, symmetric)
    alone, none = contrast(query.detach(), keys, queue, temperature, symmetric, False)
    assert torch.equal(alone, loss.detach())
    assert none.numel() == 0
    return abs(float(loss.detach()) - right) / right, distance(query.grad, 3.0 * gradient)


@cases
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_loss_and_gradient_are_those_of_float64(
    temperature: float, pairs: int, size: int, dim: int, symmetric: bool
) -> None:
    of_loss, of_gradient = errors(*vectors(pairs, size, dim, symmetric), temperature, symmetric)
    assert of_loss < 1e-6
    assert of_gradient < 3e-6


def test_sums_that_are_not_kept_short_are_the_same_up_to_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left to tensor cores where a card is faster so; the interpreter cuts nothing off."""
    monkeypatch.setattr(contrast_plan, "LARGE", SMALL._replace(promote=False))
    of_loss, of_gradient = errors(*vectors(13, 150, 37, True), 0.07, True)
    assert of_loss < 1e-6
    assert of_gradient < 3e-6


@pytest.mark.parametrize("temperature", [0.002, 0.01])
def test_logits_that_would_overflow_do_not(temperature: float) -> None:
    """Relative to the largest one they cannot; a float32 logit of 500 is off by 3e-5."""
    query, _, queue = vectors(13, 150, 37, True)
    of_loss, of_gradient = errors(query, unit(26, 37, 5), queue, temperature, True)
    assert of_loss < 1e-5
    assert of_gradient < 1e-4


def test_embeddings_that_have_collapsed_have_a_loss_too() -> None:
    """All logits are nearly equal: the queue's keys weigh the same, and their mean is left."""
    query, keys, queue = vectors(13, 150, 37, True, spread=1e-3)
    of_loss, of_gradient = errors(query, keys, queue, 0.07, True)
    assert of_loss < 1e-6
    assert of_gradient < 1e-3  # the difference of nearly equal vectors, 1e-3 of their length


def test_a_loss_that_is_nearly_zero_keeps_its_digits() -> None:
    """The positives are right and everything else is far away: log1p of a small number."""
    query = unit(6, 32, 0)
    of_loss, of_gradient = errors(query, query, -query[:1].expand(40, -1).contiguous(), 0.05, False)
    assert of_loss < 1e-5
    assert of_gradient < 1e-5


def test_the_order_of_queries_and_keys_changes_nothing_but_roundings() -> None:
    query, keys, queue = vectors(13, 150, 37, False)
    loss, gradient = contrast(query, keys, queue, 0.07, False, True)
    mixed = torch.randperm(13)
    again, moved = contrast(
        query[mixed], keys[mixed], queue[torch.randperm(150)], 0.07, False, True
    )
    assert float(again) == pytest.approx(float(loss), rel=1e-6)
    assert distance(moved, gradient[mixed].double()) < 3e-6


@pytest.mark.parametrize("place", ["query", "keys", "queue"])
def test_what_is_no_number_makes_the_loss_none(place: str) -> None:
    """So that a run that diverges ends and says so."""
    given = dict(zip(("query", "keys", "queue"), vectors(13, 150, 37, True), strict=True))
    given[place][3, 5] = torch.nan
    loss, _ = contrast(*given.values(), 0.07, True, True)
    assert not torch.isfinite(loss)


def test_tiles_chunks_and_parts_are_among_the_cases() -> None:
    """Else the tests would leave the merging out."""
    plans = [
        (contrast_plan.plan(2 * p if s else p, k, d, memory=227 * 1024), k) for p, k, d, s in CASES
    ]
    assert any(len(plan.chunks(keys)) > 1 and plan.tiles > 1 for plan, keys in plans)
    assert any(plan.splits > 1 and plan.keys_per_split > SMALL.step for plan, _ in plans)
    assert any(plan.width > SMALL.width and plan.rows > SMALL.rows for plan, _ in plans)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unit_rows_are_those_of_normalize(dtype: torch.dtype) -> None:
    x = (torch.randn(21, 37) * torch.logspace(-8, 3, 21)[:, None]).to(dtype)
    x[4] = 0.0
    x.requires_grad_()
    rows = unit_rows(x, None)
    wide = x.detach().double().requires_grad_()
    right = F.normalize(wide, dim=1)
    assert rows.dtype == torch.float32
    assert distance(rows, right) < 1e-6
    assert torch.equal(rows[4], torch.zeros(37))
    toward = torch.randn(21, 37)
    rows.backward(toward)
    right.backward(toward.double())
    assert x.grad is not None
    assert x.grad.dtype == dtype
    assert wide.grad is not None
    near = 1e-5 if dtype == torch.float32 else 8e-3
    for row in range(21):
        if row != 4:  # of no length: torch gives the gradient over 1e-12
            assert distance(x.grad[row], wide.grad[row]) < near
    order = torch.randperm(21)
    placed = unit_rows(x.detach(), order)
    assert all(torch.equal(placed[order[row]], rows[row]) for row in range(21))


def test_a_row_shorter_than_the_least_length_has_a_plain_gradient() -> None:
    x, grad = torch.full((1, 5), 1e-14), torch.arange(5.0)[None]
    assert distance(unit_rows_backward(grad, x), grad.double() / 1e-12) < 1e-6


@pytest.mark.parametrize("n", [1, 7, 64, 300])
def test_the_order_is_that_of_a_stable_sort(n: int) -> None:
    """Also where numbers are equal, as they are among 24 bits."""
    generator = torch.Generator().manual_seed(n)
    one, two = (torch.rand(n, generator=generator) for _ in range(2))
    two = (two * 8).floor() / 8
    first = np.argsort(one.numpy(), kind="stable")
    second = np.argsort(two.numpy(), kind="stable") + n
    assert order_of(one, None).tolist() == first.tolist()
    assert order_of(one, two).tolist() == [*first.tolist(), *second.tolist()]


@pytest.mark.parametrize(
    ("size", "count", "pointer"), [(20, 8, 16), (20, 8, 3), (8, 30, 5), (9, 9, 0)]
)
def test_keys_go_over_the_oldest(size: int, count: int, pointer: int) -> None:
    queue, keys = torch.randn(size, 6), torch.randn(count, 6)
    expected, at = queue.clone(), pointer
    for key in keys:
        expected[at] = key
        at = (at + 1) % size
    place = torch.tensor(pointer)
    enqueue(queue, place, keys)
    assert torch.equal(queue, expected)
    assert int(place) == at


@pytest.mark.skipif(INTERPRETED, reason="the interpreter cannot be traced")
def test_the_operations_are_what_torch_takes_them_for() -> None:
    query, keys, queue = vectors(13, 150, 37, True)
    numbers = torch.rand(9)
    given = [
        (contrast, (query.clone().requires_grad_(), keys, queue, 0.07, True, True)),
        (contrast, (query, keys, queue, 0.07, True, False)),
        (unit_rows, (query.clone().requires_grad_(), None)),
        (unit_rows, (query.bfloat16(), torch.randperm(26))),
        (unit_rows_backward, (keys, query.bfloat16())),
        (order_of, (numbers, None)),
        (order_of, (numbers, numbers)),
        (enqueue, (queue, torch.tensor(3), keys)),
    ]
    check_operations(given)


@pytest.mark.skipif(not HAS_TRITON, reason="needs triton")
@pytest.mark.skipif(INTERPRETED, reason="is the one that runs the others")
def test_the_kernels_pass_these_tests_in_the_interpreter() -> None:
    passes_in_the_interpreter(__file__)


@pytest.mark.gpu
@on_a_card
@pytest.mark.parametrize(
    ("pairs", "size", "dim", "symmetric"),
    [(512, 4096, 512, True), (512, 4096, 128, False), (500, 20_011, 200, True)],
)
def test_cuda_the_loss_is_as_near_to_float64_as_that_of_float32(
    pairs: int, size: int, dim: int, symmetric: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tiles of full size; also of embeddings that are all near one point, as at first.

    Tensor cores cut off where float32 rounds, so the gradient may be off a few times as far.
    """
    monkeypatch.undo()
    for spread in (0.3, 1.0):
        given = vectors(pairs, size, dim, symmetric, device="cuda", spread=spread)
        of_loss, of_gradient = errors(*given, 0.07, symmetric)
        print(f"{pairs} {size} {dim}: loss {of_loss:.1e}, gradient {of_gradient:.1e}")
        assert of_loss < 1e-6
        assert of_gradient < 1e-5
    first = contrast(*given, 0.07, symmetric, True)
    for ours, theirs in zip(first, contrast(*given, 0.07, symmetric, True), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.gpu
@on_a_card
def test_cuda_order_queue_and_unit_rows_are_those_of_torch() -> None:
    one, two = torch.rand(2, 8192, device="cuda")
    assert torch.equal(order_of(one, None), one.argsort(stable=True))
    both = torch.cat([one.argsort(stable=True), 8192 + two.argsort(stable=True)])
    assert torch.equal(order_of(one, two), both)
    queue, keys = torch.randn(4096, 512, device="cuda"), torch.randn(1000, 512, device="cuda")
    place = torch.tensor(3500, device="cuda")
    expected = torch.roll(torch.cat([keys, torch.roll(queue, -3500, 0)[1000:]]), 3500, 0)
    enqueue(queue, place, keys)
    assert torch.equal(queue, expected)
    assert int(place) == 404
    x = torch.randn(1000, 512, device="cuda", dtype=torch.bfloat16)
    assert distance(unit_rows(x, None), F.normalize(x.double(), dim=1)) < 1e-6
