"""The directions in which features vary most: what the logistic solver is preconditioned with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.seeds import stream

_RANK = 128  # directions in which the curvature is known; 64 to 512 need about as many iterations
_EXACT_WIDTH = 1024  # features up to which all directions are computed, and the first kept
_CHUNK_ENTRIES = 1 << 20  # of the features worked on at a time


@dataclass(frozen=True)
class Spectrum:
    """The directions in which features vary most: what the solver is preconditioned with.

    It changes the number of iterations and never the optimum, so the spectrum of all labelled
    images also serves for parts of them.

    Attributes:
        mean: float64 (D,).
        basis: float64 (D, r), orthonormal.
        values: float64 (r,), variance along each direction of the basis.
        rest: mean variance along all others.
    """

    mean: Tensor
    basis: Tensor
    values: Tensor
    rest: float

    @classmethod
    @torch.no_grad()
    def of(cls, features: Tensor, rank: int = _RANK) -> Spectrum:
        """The leading principal components of features (n, D), float32 or float64.

        Exact up to 1,024 features, else by randomised subspace iteration (Halko et al. 2011).
        """
        count, width = features.shape
        rank = min(rank, width, count)
        mean = features.mean(0, dtype=torch.float64)
        # Total variance: what the leading directions leave of it is shared by all others.
        total = sum(float(part.double().square().sum()) for part in chunks(features)) / count
        total -= float(mean.square().sum())
        if width <= _EXACT_WIDTH:
            moment = (features.T @ features).double() / count - mean.outer(mean)
            values, vectors = torch.linalg.eigh(moment)  # ascending
            values, basis = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
        else:
            # The same start for the same shape, so that a probe repeats to the bit.
            generator = stream(0, "spectrum", width, rank)
            # A few directions more than wanted make the leading ones accurate.
            block = torch.randn(width, min(rank + 16, count), generator=generator).to(features)
            for _ in range(2):
                block = _moment_product(features, mean, block)
                block, _upper = torch.linalg.qr(block.double())
                block = block.to(features)
            inner = block.double().T @ _moment_product(features, mean, block).double()
            values, vectors = torch.linalg.eigh((inner + inner.T) / 2)
            values = values.flip(0)[:rank]
            basis = block.double() @ vectors.flip(1)[:, :rank]
        values = values.clamp(min=0.0)
        rest = max(total - float(values.sum()), 0.0) / max(1, width - rank)
        return cls(mean, basis.contiguous(), values, rest)


def chunks(features: Tensor) -> list[Tensor]:
    """The rows of features (n, D) in parts that stay in the cache."""
    rows = max(1, _CHUNK_ENTRIES // max(1, features.shape[1]))
    return [features[start : start + rows] for start in range(0, len(features), rows)]


def _moment_product(features: Tensor, mean: Tensor, block: Tensor) -> Tensor:
    """Covariance of the features times a block (D, r)."""
    product = features.T @ (features @ block) / len(features)
    return product - mean.to(block).outer(mean.to(block) @ block)
