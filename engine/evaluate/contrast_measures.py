"""How well queries find their keys among the negatives, as measures of the contrastive task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from engine.models.split_batchnorm import at_least_float32

TOP = 5
"""k of the accuracy beside top-1, as the reference implementation prints it
(github.com/facebookresearch/moco, ``main_moco.py``)."""
_COLUMNS = 4096  # keys that are compared at a time


class Contrast(NamedTuple):
    """Of one batch of queries; scalar tensors on their device.

    Attributes:
        positive: mean cosine of a query and its key, in [-1, 1].
        negative: mean cosine of a query and a negative.
        hardest: mean over the queries of their largest cosine with a negative.
        top1: percentage of queries whose key is nearer than all negatives.
        top5: percentage of queries with fewer than five negatives as near as their key.
    """

    positive: Tensor
    negative: Tensor
    hardest: Tensor
    top1: Tensor
    top5: Tensor


def contrast(q: Tensor, k: Tensor, negatives: Tensor) -> Contrast:
    """The contrastive task of arXiv:1911.05722, eq. 1: 1 + K classes, the key is the right one.

    The temperature changes neither cosines nor their order. A negative exactly as near as the key
    counts against it, so that an encoder that maps all images to one point scores 0.

    Args:
        q: ``(N, dim)`` queries of unit length.
        k: ``(N, dim)`` their keys.
        negatives: ``(K, dim)``, the queue that they were compared with.
    """
    q, k = at_least_float32(q), at_least_float32(k)
    positive = (q * k).sum(1)  # (N,)
    total = torch.zeros_like(positive)
    hardest = torch.full_like(positive, -torch.inf)
    as_near = torch.zeros_like(positive)
    for part in _parts(negatives):
        cosines = q @ part.to(q.dtype).T  # (N, at most _COLUMNS)
        total += cosines.sum(1)
        hardest = torch.maximum(hardest, cosines.amax(1))
        as_near += (cosines >= positive[:, None]).sum(1)
    return Contrast(
        positive.mean(),
        total.mean() / len(negatives),
        hardest.mean(),
        100.0 * (as_near < 1).to(q.dtype).mean(),
        100.0 * (as_near < TOP).to(q.dtype).mean(),
    )


def _parts(negatives: Tensor) -> Iterator[Tensor]:
    for start in range(0, len(negatives), _COLUMNS):
        yield negatives[start : start + _COLUMNS]
