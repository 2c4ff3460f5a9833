"""The contrastive task against plain loops in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.evaluate import contrast_measures
from engine.evaluate.contrast_measures import contrast


def unit(generator: torch.Generator, rows: int, dim: int = 10) -> Tensor:
    return F.normalize(torch.randn(rows, dim, generator=generator), dim=1)


@pytest.mark.parametrize("columns", [4096, 7])
def test_measures_are_those_of_plain_loops(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast_measures, "_COLUMNS", columns)
    generator = torch.Generator().manual_seed(5)
    q, queue = unit(generator, 30), unit(generator, 61)
    k = F.normalize(q + 0.8 * torch.randn(30, 10, generator=generator), dim=1)
    found = contrast(q, k, queue)

    dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))  # noqa: E731
    rows, keys, others = q.double().tolist(), k.double().tolist(), queue.double().tolist()
    positives = [dot(a, b) for a, b in zip(rows, keys, strict=True)]
    negatives = [[dot(a, n) for n in others] for a in rows]
    ranks = [sum(n > p for n in row) for p, row in zip(positives, negatives, strict=True)]
    assert found.positive.item() == pytest.approx(sum(positives) / 30, abs=1e-6)
    assert found.negative.item() == pytest.approx(sum(map(sum, negatives)) / 30 / 61, abs=1e-6)
    assert found.hardest.item() == pytest.approx(sum(map(max, negatives)) / 30, abs=1e-6)
    assert found.top1.item() == pytest.approx(100 * sum(r < 1 for r in ranks) / 30, abs=1e-4)
    assert found.top5.item() == pytest.approx(100 * sum(r < 5 for r in ranks) / 30, abs=1e-4)
    assert 0.0 < found.top1 < found.top5 < 100.0  # or this test says little


def test_accuracies_are_those_of_topk_over_joined_logits() -> None:
    """As the reference implementation computes them: the positive is column 0 of 1 + K."""
    generator = torch.Generator().manual_seed(6)
    q, queue = unit(generator, 50), unit(generator, 200)
    k = F.normalize(q + torch.randn(50, 10, generator=generator), dim=1)
    logits = torch.cat(((q * k).sum(1, keepdim=True), q @ queue.T), 1) / 0.07
    hits = logits.topk(5, 1).indices == 0
    found = contrast(q, k, queue)
    assert found.top1.item() == pytest.approx(100 * hits[:, 0].float().mean().item(), abs=1e-4)
    assert found.top5.item() == pytest.approx(100 * hits.any(1).float().mean().item(), abs=1e-4)


def test_an_encoder_with_one_answer_scores_nothing() -> None:
    one = F.normalize(torch.ones(8, 4), dim=1)
    found = contrast(one, one, one[:1].expand(20, -1).contiguous())
    assert found.top1 == 0.0
    assert found.top5 == 0.0
    assert found.positive.item() == pytest.approx(found.hardest.item())
