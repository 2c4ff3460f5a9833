"""Maps of features in two dimensions: principal components, and t-SNE by scikit-learn."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import UserError

COMPONENTS = 50
"""Principal components that a t-SNE begins with, as its authors do (van der Maaten & Hinton, JMLR
2008, section 4.2)."""
_PERPLEXITY = 30.0
_STEPS = 1000
NO_TSNE = (
    "t-SNE needs scikit-learn, which is not installed; pip install 'moco-tui[look]' brings it. "
    "The map of the principal components needs nothing."
)


@dataclass(frozen=True)
class PrincipalComponents:
    """Features along the directions in which they vary most.

    Attributes:
        points: float32 (N, m), centred; the direction of each axis is such that its largest
            coordinate by size is positive.
        explained: float64 (m,), the share of the variance along each, in [0, 1], descending.
    """

    points: Tensor
    explained: Tensor


@torch.no_grad()
def principal_components(features: Tensor, count: int = COMPONENTS) -> PrincipalComponents:
    """The leading principal components of features of unit length.

    Features are normalised before: then distances on the map are those of the cosine similarity
    by which neighbours are found, ``|a - b|^2 = 2 - 2 cos``.

    Args:
        features: (N, D), N >= 2, on the CPU.
        count: components, at least 2; where there are fewer, the rest are zeros.
    """
    unit = F.normalize(features.double(), dim=1)
    centred = unit - unit.mean(0)
    wide = len(features) < features.shape[1]
    # By the smaller matrix of products, a third of the time of a singular value decomposition; the
    # squares of the singular values of what is centred are its eigenvalues.
    values, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    values, vectors = values.flip(0).clamp_(min=0)[:count], vectors.flip(1)[:, :count]
    kept = len(values)
    points = centred.new_zeros(len(features), count)
    points[:, :kept] = vectors * values.sqrt() if wide else centred @ vectors
    largest = points.gather(0, points.abs().argmax(0, keepdim=True))
    points *= torch.where(largest < 0, -1.0, 1.0)
    total = centred.square().sum()
    explained = centred.new_zeros(count)
    if total > 0:
        explained[:kept] = values / total
    return PrincipalComponents(points.float(), explained)


def has_tsne() -> bool:
    """Whether scikit-learn is there; nothing is imported."""
    return importlib.util.find_spec("sklearn") is not None


def tsne_plane(components: bytes, count: int) -> list[tuple[float, float]]:
    """A t-SNE map of some images; it cannot be interrupted.

    Begins with the principal components and draws nothing at random, so the same features give the
    same map.

    Args:
        components: float32 (N, m), see ``encoder_look.EncoderView``.
        count: N, at least 3.

    Returns:
        N points.

    Raises:
        UserError: where scikit-learn is missing or too old.
    """
    if not has_tsne():
        raise UserError(NO_TSNE)
    points: NDArray[np.float32] = np.frombuffer(components, dtype="<f4").reshape(count, -1)
    scale = float(points[:, 0].std()) or 1.0
    try:
        manifold = importlib.import_module("sklearn.manifold")
        model = manifold.TSNE(
            perplexity=min(_PERPLEXITY, (count - 1) / 3),
            init=np.ascontiguousarray(points[:, :2] / scale * 1e-4),  # as scikit-learn's own
            learning_rate="auto",
            max_iter=_STEPS,
            random_state=0,
            n_jobs=1,
        )
    except (ImportError, TypeError) as error:  # max_iter: since 1.5
        raise UserError(
            f"t-SNE did not start ({error}); scikit-learn must be 1.5 or newer: "
            "pip install 'moco-tui[look]'."
        ) from error
    placed = model.fit_transform(np.ascontiguousarray(points))
    return [(float(x), float(y)) for x, y in placed]
