"""InfoNCE against its definition, whole and in chunks."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import engine.models.info_nce
from engine.models.info_nce import ChunkedLogSumExp, chance_loss, info_nce, whole_logsumexp

from ..gradients import grad


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


@pytest.mark.parametrize("k", [1, 5, 4096])
@pytest.mark.parametrize("temperature", [0.001, 0.07, 100.0])
def test_equal_embeddings_give_the_log_of_the_number_of_choices(k: int, temperature: float) -> None:
    one = unit(1, 16)
    loss = info_nce(one.repeat(6, 1), one.repeat(6, 1), one.repeat(k, 1), temperature)
    rounding = 4 * 2.0**-23 / temperature  # of logits of that size
    assert float(loss) == pytest.approx(math.log(k + 1), rel=1e-5, abs=rounding)
    assert chance_loss(k, False) == pytest.approx(math.log(k + 1))
    assert chance_loss(k, True) == pytest.approx(2 * math.log(k + 1))


def test_orthogonal_negatives_have_a_closed_form() -> None:
    eye = torch.eye(8)
    loss = info_nce(eye[:2], eye[:2], eye[2:], 0.5)  # positive 1 / 0.5, six negatives 0
    assert float(loss) == pytest.approx(math.log(math.exp(2.0) + 6) - 2.0, rel=1e-6)


@pytest.mark.parametrize("k", [1, 37, 64])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 1.0])
def test_info_nce_is_the_cross_entropy_of_all_logits(k: int, temperature: float) -> None:
    q, keys, queue = unit(10, 16, seed=1), unit(10, 16, seed=2), unit(k, 16, seed=3)
    a, b = q.clone().requires_grad_(), q.double().requires_grad_()
    loss = info_nce(a, keys, queue, temperature)
    positive = (b * keys.double()).sum(1, keepdim=True)
    logits = torch.cat([positive, b @ queue.double().T], dim=1) / temperature
    expected = F.cross_entropy(logits, torch.zeros(10, dtype=torch.int64))
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    scale = float(grad(b).abs().max())
    torch.testing.assert_close(grad(a).double(), b.grad, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("rows", [1, 7, 12, 36, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("transposed", [True, False])
def test_logits_in_chunks_are_logits_at_once(
    rows: int, dtype: torch.dtype, transposed: bool
) -> None:
    q, queue = unit(10, 16, seed=1).to(dtype), unit(36, 16, seed=3).to(dtype)
    a, b = q.clone().requires_grad_(), q.clone().requires_grad_()
    columns = queue.T.contiguous() if transposed else None
    chunked = ChunkedLogSumExp.apply(a, queue, columns, 0.05, rows)
    whole = whole_logsumexp(b, queue, 0.05)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(chunked, whole, rtol=tolerance, atol=tolerance)
    push = torch.randn(10, dtype=dtype)
    chunked.backward(push)
    whole.backward(push)
    torch.testing.assert_close(a.grad, b.grad, rtol=10 * tolerance, atol=10 * tolerance)


def test_few_logits_are_held_when_the_queue_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = 0
    product = engine.models.info_nce._product

    def watched(a: Tensor, b: Tensor) -> Tensor:
        nonlocal widest
        out = product(a, b)
        widest = max(widest, out.numel() if b.shape[1] == 16 else 0)
        return out

    monkeypatch.setattr(engine.models.info_nce, "_product", watched)
    monkeypatch.setattr(engine.models.info_nce, "MAX_LOGITS", 50)
    q = unit(10, 16, seed=1).requires_grad_()
    queue = unit(33, 16, seed=3)
    loss = info_nce(q, unit(10, 16, seed=2), queue, 0.1)
    assert widest == 50
    expected = (torch.cat([(q * unit(10, 16, seed=2)).sum(1, keepdim=True), q @ queue.T], 1)) / 0.1
    torch.testing.assert_close(loss, F.cross_entropy(expected, torch.zeros(10, dtype=torch.int64)))
