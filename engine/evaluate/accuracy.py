"""Accuracy of a classifier, its interval, and the confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MOST_CONFUSED = 100
"""Classes up to which a result has the whole confusion matrix: it is kept in the run's record, for
each row of a probe, and that of 500 classes would be more than a record may have."""

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def confusion_matrix(truth: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """How often each class was taken for each: int64 (classes, classes), a row for each truth.

    Args:
        truth: int64 (N,) in [0, classes).
        predicted: int64 (N,) in [0, classes).
        classes: number of classes.
    """
    cells = truth.cpu() * classes + predicted.cpu()  # (N,), row-major number of the cell
    return torch.bincount(cells, minlength=classes * classes).view(classes, classes)


def wilson_interval(correct: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a share, in [0, 1] (Wilson 1927).

    It stays inside [0, 1] and keeps its level for shares near 0 and 1 and for few trials.

    Args:
        correct: successes, in [0, total].
        total: trials, >= 1.
        z: quantile of the normal distribution; the default gives 95 %.
    """
    share = correct / total
    spread = 1.0 + z * z / total
    middle = (share + z * z / (2 * total)) / spread
    half = z / spread * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # Set at the ends, where rounding could leave the share itself outside of its interval.
    low = 0.0 if correct == 0 else middle - half
    high = 1.0 if correct == total else middle + half
    return low, high


def score(truth: Tensor, predicted: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """All figures of a classifier as builtin values; accuracies in percent.

    Args:
        truth: int64 (N,) in [0, len(names)), N >= 1.
        predicted: int64 (N,) likewise.
        names: of the classes.

    Returns:
        ``top1``: accuracy; ``low``, ``high``: its 95 % interval over the images (Wilson), which
        says nothing about other seeds; ``balanced``: mean accuracy of the classes that occur;
        ``majority``: accuracy of always saying the most frequent class; ``per_class``: accuracy
        of each class by name, None for a class that does not occur; ``confusion``: rows of
        counts, truth by prediction, where there are ``MOST_CONFUSED`` classes at most.
    """
    matrix = confusion_matrix(truth, predicted, len(names))
    counts, hits = matrix.sum(1), matrix.diagonal()
    total, correct = int(counts.sum()), int(hits.sum())
    low, high = wilson_interval(correct, total)
    per_class = {
        name: 100.0 * hit / count if count else None
        for name, hit, count in zip(names, hits.tolist(), counts.tolist(), strict=True)
    }
    occurring = [value for value in per_class.values() if value is not None]
    return {
        "top1": 100.0 * correct / total,
        "low": 100.0 * low,
        "high": 100.0 * high,
        "balanced": sum(occurring) / len(occurring),
        "majority": 100.0 * int(counts.max()) / total,
        "per_class": per_class,
        **({"confusion": matrix.tolist()} if len(names) <= MOST_CONFUSED else {}),
    }
