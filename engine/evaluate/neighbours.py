"""Nearest neighbours within a set of images, each image left out of its own; what they vote for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.sink import NullSink, Sink, check_interrupt

_CHUNK = 500  # images compared with all others at a time


@torch.no_grad()
def nearest_others(features: Tensor, k: int, *, sink: Sink | None = None) -> tuple[Tensor, Tensor]:
    """The ``k`` images most similar to each image, without itself.

    Of images with exactly the same similarity the order is not defined.

    Args:
        features: (N, D), any scale, N >= 2; normalised here. A row of zeros is similar to nothing.
        k: how many, >= 1; more than N - 1 means N - 1.
        sink: receives the progress, and is asked once a chunk whether to stop.

    Returns:
        int64 (N, k), rows of ``features``, the nearest first, and float32 (N, k), their cosine
        similarity in [-1, 1].

    Raises:
        ValueError: for fewer than two images.
        Interrupted: when the sink asked to stop.
    """
    count = len(features)
    if count < 2:
        raise ValueError(f"{count} images have no neighbours")
    sink = NullSink() if sink is None else sink
    k = min(k, count - 1)
    unit = F.normalize(features.float(), dim=1)
    index = torch.empty(count, k, dtype=torch.int64, device=features.device)
    similarity = torch.empty(count, k, device=features.device)
    for start in range(0, count, _CHUNK):
        check_interrupt(sink)
        rows = torch.arange(start, min(start + _CHUNK, count), device=features.device)
        cosine = (unit[rows] @ unit.T).clamp_(-1, 1)
        cosine[rows - start, rows] = -torch.inf
        similarity[rows], index[rows] = cosine.topk(k, dim=1)
        sink.progress("neighbours", min(start + _CHUNK, count), count)
    return index, similarity


def same_class_shares(index: Tensor, labels: Tensor, at: Sequence[int]) -> dict[int, float]:
    """The share of neighbours that have the class of their image, the mean over all images.

    Args:
        index: int64 (N, k), see ``nearest_others``.
        labels: int64 (N,).
        at: numbers of neighbours; those above k are left out.

    Returns:
        By number of neighbours, in [0, 1].
    """
    same = (labels[index] == labels[:, None]).double()
    return {n: float(same[:, :n].mean()) for n in at if n <= index.shape[1]}


def voted_classes(
    index: Tensor, similarity: Tensor, labels: Tensor, *, classes: int, k: int, temperature: float
) -> Tensor:
    """The classes that the nearest others of each image vote for, as in the kNN monitor.

    A neighbour of cosine similarity ``s`` votes with weight ``exp(s / temperature)`` (Wu et al.,
    arXiv:1805.01978, section 3.4); of classes with equal votes the first wins.

    Args:
        index: int64 (N, n), see ``nearest_others``.
        similarity: float (N, n).
        labels: int64 (N,) in [0, classes).
        classes: number of classes.
        k: neighbours that vote; more than n means n.
        temperature: > 0.

    Returns:
        int64 (N,).
    """
    best = similarity[:, :k].double()
    # Relative to the nearest, which changes no vote: exp(1 / 0.001) would overflow.
    weights = ((best - best[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(index), classes)
    votes.scatter_add_(1, labels[index[:, :k]], weights)
    return votes.argmax(dim=1)


def confusion_counts(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """How often each class was taken for each.

    Args:
        labels: int64 (N,) in [0, classes).
        predicted: int64 (N,), likewise.
        classes: number of classes.

    Returns:
        int64 (classes, classes): rows are the labels, columns the predictions.
    """
    flat = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)
