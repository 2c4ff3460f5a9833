"""The logsumexp over a queue by products of bfloat16 pairs against float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.info_nce import cross_entropy, info_nce
from engine.native.library import LEVELS, PAIR_PRODUCTS, library
from engine.native.packed_queue import PART, PackedQueue

LIBRARY = library()
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
pytestmark = pytest.mark.skipif(
    PAIR_PRODUCTS not in AVAILABLE, reason="the kernels were not built, or not for this processor"
)


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(shape), dim=1)


def packed(queue: Tensor) -> PackedQueue:
    out = PackedQueue(len(queue), queue.shape[1], PAIR_PRODUCTS)
    out.logits_form.fill_(float("nan"))  # what was there before must not show
    out.mean_form.fill_(float("nan"))
    for first in reversed(out.parts()):
        out.pack(queue, first)
    return out


def exact(q: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Logsumexp, and the gradient of its sum towards q, in float64."""
    q = q.detach().double().requires_grad_()
    out = (q @ queue.double().T / temperature).logsumexp(1)
    (gradient,) = torch.autograd.grad(out.sum(), q)
    return out.detach(), gradient


# Blocks of 8 queries, tiles of 192 keys, parts of 1,536, and 64 components: full ones and others.
@pytest.mark.parametrize(
    ("n", "keys", "dim"),
    [(8, 192, 64), (64, 4096, 512), (1, 1, 1), (9, 193, 65), (5, 2 * PART + 7, 30), (7, 191, 128)],
)
@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
def test_it_is_that_of_float64(n: int, keys: int, dim: int, temperature: float) -> None:
    torch.manual_seed(0)
    q, queue = unit(n, dim).requires_grad_(), unit(keys, dim)
    out = packed(queue).logsumexp(q, temperature)
    (gradient,) = torch.autograd.grad(out.sum(), q)
    # Of the same rounded values the sums are those of float32.
    rounded, _ = exact((q.detach() / temperature).bfloat16(), queue.bfloat16(), 1.0)
    torch.testing.assert_close(out.double(), rounded, rtol=2e-6, atol=2e-6)
    # Two roundings to 8 bits, each off by 2**-9 at most: of a logit, whose factors vary in size.
    expected, its_gradient = exact(q, queue, temperature)
    assert float((out.detach() - expected).abs().max()) < 2**-8 / temperature
    assert float((gradient - its_gradient).norm()) < 2.0**-8 * float(its_gradient.norm()) * (
        1.0 + 0.1 / temperature
    )


def test_the_loss_is_off_by_less_than_a_ten_thousandth() -> None:
    """As it is trained with: queries near some of the keys, their own key nearest."""
    torch.manual_seed(0)
    queue = unit(4096, 128)
    q = F.normalize(queue[:512] + 0.08 * torch.randn(512, 128), dim=1)
    k = F.normalize(q + 0.03 * torch.randn(512, 128), dim=1)
    ours = cross_entropy(q, k, packed(queue).logsumexp(q, 0.1), 0.1)
    expected = info_nce(q.double(), k.double(), queue.double(), 0.1)
    assert 0.1 < float(expected) < 8.0
    assert abs(float(ours) - float(expected)) < 1e-4 * float(expected)


def test_the_gradient_is_weighted() -> None:
    torch.manual_seed(0)
    q, queue, weights = unit(10, 40).requires_grad_(), unit(300, 40), torch.randn(10)
    over = packed(queue)
    (plain,) = torch.autograd.grad(over.logsumexp(q, 0.2).sum(), q)
    (weighted,) = torch.autograd.grad((over.logsumexp(q, 0.2) * weights).sum(), q)
    torch.testing.assert_close(weighted, plain * weights[:, None])


def test_logits_that_differ_by_thousands_do_not_overflow() -> None:
    queue = torch.cat([torch.full((1, 16), -9.0), torch.full((400, 16), 9.0), torch.zeros(3, 16)])
    q = torch.stack([torch.full((16,), 4.0), torch.full((16,), -4.0), torch.zeros(16)])
    out = packed(queue).logsumexp(q.requires_grad_(), 0.1)
    (gradient,) = torch.autograd.grad(out.sum(), q)
    expected, its_gradient = exact(q, queue, 0.1)
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient.double(), its_gradient, rtol=4e-3, atol=1e-3)


def test_what_is_no_number_shows() -> None:
    queue = unit(500, 20)
    queue[333, 7] = torch.nan
    q = unit(9, 20).requires_grad_()
    out = packed(queue).logsumexp(q, 0.1)
    (gradient,) = torch.autograd.grad(out.sum(), q)
    assert bool(out.isnan().all())
    assert bool(gradient.isnan().any())


def test_rows_do_not_depend_on_the_rows_beside_them() -> None:
    """Groups of any size give a query the same bits."""
    torch.manual_seed(0)
    q, over = unit(19, 70), packed(unit(777, 70))
    whole = over.logsumexp(q, 0.07)
    for i in range(len(q)):
        assert torch.equal(over.logsumexp(q[i : i + 1], 0.07), whole[i : i + 1])


def test_a_queue_that_changes_is_packed_anew() -> None:
    torch.manual_seed(0)
    q, first, second = unit(4, 32), unit(2000, 32), unit(2000, 32)
    over = packed(first)
    before = over.logsumexp(q, 0.1)
    for start in over.parts():
        over.pack(second, start)
    assert not torch.allclose(over.logsumexp(q, 0.1), before)
    assert torch.equal(over.logsumexp(q, 0.1), packed(second).logsumexp(q, 0.1))


@pytest.mark.parametrize(("n", "keys", "dim"), [(64, 1000, 128), (9, 193, 65), (1, 1, 2)])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_the_loss_of_a_group_is_that_of_autograd(
    n: int, keys: int, dim: int, temperature: float
) -> None:
    torch.manual_seed(0)
    queue, e = packed(unit(keys, dim)), (3.0 * torch.randn(n, dim)).requires_grad_()
    k = F.normalize(e.detach() + torch.randn(n, dim), dim=1)
    losses, gradient = queue.info_nce(e, k, temperature, 0.5 / n)
    q = F.normalize(e, dim=1)
    expected = cross_entropy(q, k, queue.logsumexp(q, temperature), temperature)
    (its_gradient,) = torch.autograd.grad(0.5 * expected, e)
    torch.testing.assert_close(losses.mean(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert float((gradient - its_gradient).norm()) < 1e-4 * float(its_gradient.norm()) + 1e-9


def test_a_loss_that_is_small_or_large_is_exact() -> None:
    """Where the positive is all or nothing, exp alone would lose every digit or overflow."""
    queue = packed(torch.full((5, 16), 0.25))
    e = torch.stack([torch.full((16,), 2.0), torch.full((16,), -2.0)])
    k = torch.full((2, 16), -0.25)
    losses, gradient = queue.info_nce(e, k, 0.01, 1.0)
    expected = info_nce(F.normalize(e[:1], dim=1), k[:1], torch.full((5, 16), 0.25), 0.01)
    torch.testing.assert_close(losses[0], expected, rtol=1e-6, atol=0)
    assert 0.0 <= float(losses[1]) < 1e-30
    assert bool(gradient.isfinite().all())


def test_an_embedding_of_zero_or_none_gives_what_torch_gives() -> None:
    queue, k = packed(unit(20, 8)), unit(3, 8)
    e = torch.randn(3, 8)
    e[0] = 0.0
    e[1, 3] = torch.nan
    leaf = e.clone().requires_grad_()
    q = F.normalize(leaf, dim=1)
    expected = cross_entropy(q, k, queue.logsumexp(q, 0.1), 0.1)
    (its_gradient,) = torch.autograd.grad(expected * 3.0, leaf)
    losses, gradient = queue.info_nce(e, k, 0.1, 1.0)
    assert losses.isnan().tolist() == [False, True, False]
    assert bool(gradient[1].isnan().all())
    torch.testing.assert_close(gradient[2], its_gradient[2], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient[0], its_gradient[0], rtol=1e-2, atol=1e-6)
