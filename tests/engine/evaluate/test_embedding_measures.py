"""Measures of embeddings against their definitions, written out in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.evaluate.embedding_measures import (
    alignment,
    dead_dimensions,
    effective_rank,
    spread,
    uniformity,
)


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float64])
def embeddings(request: pytest.FixtureRequest) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(40, 12, generator=generator, dtype=torch.float64)
    drawn[:, 2] *= 0.1
    return F.normalize(drawn, dim=1).to(request.param)


def test_spread_is_the_standard_deviation_of_each_dimension(embeddings: Tensor) -> None:
    expected = np.std(embeddings.double().numpy(), axis=0) * math.sqrt(12)
    np.testing.assert_allclose(spread(embeddings).numpy(), expected, rtol=1e-5)


def test_spread_of_random_directions_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(20_000, 64, generator=generator), dim=1)
    assert spread(directions).mean() == pytest.approx(1.0, abs=0.01)


def test_dimensions_that_hardly_vary_are_dead() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(100, 16, generator=generator)
    drawn[:, :3] = torch.tensor([0.0, 2.0, -1.0])
    drawn[:, 3] *= 0.05
    # Brought to unit length, a constant varies with the length of the rest: only zero is dead.
    assert dead_dimensions(F.normalize(drawn, dim=1)) == 1.0
    drawn[:, 4:] = 1e-4 * drawn[:, 4:]
    drawn[:, 3] = 0.0
    assert dead_dimensions(F.normalize(drawn, dim=1)) == 16.0
    assert dead_dimensions(torch.eye(16)) == 0.0


def test_effective_rank_is_rankme_of_the_singular_values(embeddings: Tensor) -> None:
    for matrix in (embeddings, embeddings[:7]):
        values = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
        p = values / values.sum() + 1e-7
        expected = math.exp(-sum(x * math.log(x) for x in p))
        assert effective_rank(matrix).item() == pytest.approx(expected, rel=1e-6)


def test_effective_rank_of_known_matrices() -> None:
    assert effective_rank(torch.eye(9)).item() == pytest.approx(9.0, rel=1e-4)
    one = F.normalize(torch.ones(30, 9), dim=1)
    assert effective_rank(one).item() == pytest.approx(1.0, abs=1e-4)


def test_alignment_is_the_mean_squared_distance(embeddings: Tensor) -> None:
    q, k = embeddings[:20], embeddings[20:]
    expected = np.mean(
        [
            sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
            for x, y in zip(q.double().tolist(), k.double().tolist(), strict=True)
        ]
    )
    assert alignment(q, k).item() == pytest.approx(expected, rel=1e-5)


def test_uniformity_is_the_logarithm_of_the_mean_potential(embeddings: Tensor) -> None:
    # Rounded to bfloat16 they are not of unit length: the definition is that of unit vectors.
    rows = F.normalize(embeddings.double(), dim=1).tolist()
    potentials = [
        math.exp(-2.0 * sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
        for x, y in itertools.combinations(rows, 2)
    ]
    expected = math.log(sum(potentials) / len(potentials))
    loose = 2e-2 if embeddings.dtype == torch.bfloat16 else 1e-4
    assert uniformity(embeddings).item() == pytest.approx(expected, rel=loose)


def test_one_point_has_no_uniformity() -> None:
    assert uniformity(F.normalize(torch.ones(5, 8), dim=1)).item() == pytest.approx(0.0, abs=1e-5)


def test_arguments_stay_as_they_are(embeddings: Tensor) -> None:
    before = embeddings.clone()
    for measure in (spread, dead_dimensions, effective_rank, uniformity):
        measure(embeddings)
    alignment(embeddings, embeddings)
    assert torch.equal(embeddings, before)
