"""What a batch of embeddings says about an encoder, without labels.

All functions take embeddings of unit length in any float dtype, compute in float32 at least, and
leave their arguments as they are. A result is a scalar tensor on the device of the embeddings, so
that nobody waits for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.models.split_batchnorm import at_least_float32

UNIFORMITY_T = 2.0
"""t of ``uniformity``, as in the paper."""
DEAD_SHARE = 0.01
"""``spread`` below which a dimension is dead: this share of that of random directions."""
_RANK_EPSILON = 1e-7  # of RankMe, for float32


def spread(embeddings: Tensor) -> Tensor:
    """Standard deviation of every dimension, times the root of their number.

    1 on average for directions drawn evenly from the sphere, 0 where all embeddings are one
    (Chen and He, arXiv:2011.10566, section 4.1, who show std and 1 / sqrt(d)).

    Args:
        embeddings: ``(N, dim)`` of unit length, N at least 2.

    Returns:
        ``(dim,)``.
    """
    wide = at_least_float32(embeddings)
    root: float = wide.shape[1] ** 0.5
    return wide.std(0, correction=0) * root


def dead_dimensions(embeddings: Tensor) -> Tensor:
    """How many dimensions hardly vary: their ``spread`` is below ``DEAD_SHARE``.

    Args:
        embeddings: ``(N, dim)`` of unit length, N at least 2.

    Returns:
        A float32 scalar in [0, dim].
    """
    return (spread(embeddings) < DEAD_SHARE).sum().float()


def effective_rank(embeddings: Tensor) -> Tensor:
    """RankMe: the exponential of the entropy of the singular values (arXiv:2210.02885, eq. 1 - 2).

    With singular values s of the matrix of embeddings, p = s / sum(s) + 1e-7 and the rank is
    exp(-sum(p log p)): 1 where all embeddings are one, at most min(N, dim). The singular values are
    the roots of the eigenvalues of the smaller of the two products of the matrix with itself, in
    float64. On CUDA this waits for the device.

    Args:
        embeddings: ``(N, dim)``.

    Returns:
        A float64 scalar in [1, min(N, dim)], up to the small constant.
    """
    matrix = embeddings.double()
    product = matrix.T @ matrix if len(matrix) > matrix.shape[1] else matrix @ matrix.T
    values = torch.linalg.eigvalsh(product).clamp_min(0.0).sqrt()
    p = values / values.sum() + _RANK_EPSILON
    rank: Tensor = (-(p * p.log()).sum()).exp()
    return rank


def alignment(q: Tensor, k: Tensor) -> Tensor:
    """Mean squared distance of two views of an image (arXiv:2005.10242, eq. 4, alpha = 2).

    Args:
        q: ``(N, dim)`` of unit length.
        k: ``(N, dim)``, the other view of the same images.

    Returns:
        A scalar in [0, 4]; smaller is better aligned.
    """
    return (at_least_float32(q) - at_least_float32(k)).square().sum(1).mean()


def uniformity(embeddings: Tensor) -> Tensor:
    """Logarithm of the mean potential of all pairs (arXiv:2005.10242, eq. 5, t = 2).

    log of the mean over i < j of exp(-t |x_i - x_j|^2).

    Args:
        embeddings: ``(N, dim)`` of unit length, N at least 2.

    Returns:
        A scalar in [-4 t, 0]; 0 where all embeddings are one, smaller is more uniform.
    """
    wide = at_least_float32(embeddings)
    # |x - y|^2 = 2 - 2 x . y for unit vectors: one product in place of (N, N, dim) differences.
    squared = (2.0 - 2.0 * wide @ wide.T).clamp_min(0.0)
    count = len(wide)
    above = torch.ones(count, count, dtype=torch.bool, device=wide.device).triu(1)
    potentials = (-UNIFORMITY_T * squared).masked_fill(~above, -torch.inf)
    pairs = torch.tensor(count * (count - 1) / 2, dtype=wide.dtype, device=wide.device)
    return potentials.flatten().logsumexp(0) - pairs.log()
