"""Weighted k-nearest-neighbour classification, the monitor of a pretraining."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.sink import NullSink, Sink, check_interrupt

# Entries of the similarity matrix of one chunk: a compromise of call overhead and cache.
_CPU_ENTRIES = 1 << 22
_DEVICE_ENTRIES = 1 << 27


@torch.no_grad()
def knn_predict(
    features: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    *,
    classes: int,
    k: int,
    temperature: float,
    chunk: int = 0,
    sink: Sink | None = None,
) -> Tensor:
    """Lets the ``k`` most similar images of a bank vote on each image.

    A neighbour of cosine similarity ``s`` votes for its class with weight ``exp(s / temperature)``
    (Wu et al., arXiv:1805.01978, section 3.4). Of classes with equal votes the first wins; which
    of several images with exactly the similarity of the k-th neighbour votes is not defined.

    Args:
        features: (N, D), any scale; normalised here. A row of zeros is similar to nothing (0).
        bank: (B, D) on the same device, B >= 1.
        bank_labels: int64 (B,) in [0, classes).
        classes: number of classes.
        k: neighbours that vote, >= 1; more than B means B.
        temperature: > 0.
        chunk: images worked on at a time; 0: as many as suit the device.
        sink: receives the progress, and is asked once a chunk whether to stop.

    Returns:
        int64 (N,), the predicted classes, on the features' device.

    Raises:
        ValueError: when the bank is empty or does not match its labels.
        Interrupted: when the sink asked to stop.
    """
    if len(bank) == 0 or len(bank) != len(bank_labels):
        raise ValueError(f"a bank of {len(bank)} images with {len(bank_labels)} labels")
    sink = NullSink() if sink is None else sink
    k = min(k, len(bank))
    entries = _CPU_ENTRIES if features.device.type == "cpu" else _DEVICE_ENTRIES
    chunk = chunk or max(1, entries // len(bank))
    bank = F.normalize(bank.float(), dim=1).T  # (D, B)
    bank_labels = bank_labels.to(features.device)
    predicted = torch.empty(len(features), dtype=torch.int64, device=features.device)
    for start in range(0, len(features), chunk):
        check_interrupt(sink)
        rows = slice(start, start + chunk)
        similarity = F.normalize(features[rows].float(), dim=1) @ bank  # (n, B)
        best, index = similarity.topk(k, dim=1)
        # Relative to the nearest, which changes no vote: exp(1 / 0.01) would overflow float32.
        weights = ((best - best[:, :1]) / temperature).exp_()
        votes = weights.new_zeros(len(weights), classes)
        votes.scatter_add_(1, bank_labels[index], weights)
        predicted[rows] = votes.argmax(dim=1)
        sink.progress("kNN", min(start + chunk, len(features)), len(features))
    return predicted
