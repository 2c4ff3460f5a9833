"""The contrastive loss InfoNCE (arXiv:1911.05722, eq. 1), without keeping its logits."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.models.split_batchnorm import at_least_float32

#: Logits of more entries than this are made in chunks of the queue and never kept whole (256 MiB).
MAX_LOGITS = 2**26
#: Whether torch was built with oneDNN.
ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
#: Columns of logits at a time on a CPU, for its cache.
CPU_ROWS = 4096


def info_nce(
    q: Tensor, k: Tensor, queue: Tensor, temperature: float, columns: Tensor | None = None
) -> Tensor:
    """InfoNCE (arXiv:1911.05722, eq. 1): the mean cross-entropy of the positives.

    The logits are ``q . k`` (the positive) and ``q . queue`` (K negatives) over the temperature.

    Args:
        q: ``(B, dim)`` queries of unit length.
        k: ``(B, dim)`` their keys, without a gradient.
        queue: ``(K, dim)`` negatives, without a gradient.
        temperature: of the softmax, above 0.
        columns: the queue transposed, ``(dim, K)`` and contiguous, if the caller has it at hand. A
            CPU copies it out of the queue in each call otherwise.

    Returns:
        A scalar, float32 (float64 for float64 input) even under autocast.
    """
    with torch.autocast(q.device.type, enabled=False):
        q = at_least_float32(q)
        k = k.to(q.dtype)
        queue = queue.to(q.dtype)
        negative: Tensor  # (B,), logsumexp of the K negatives
        if in_chunks(q, queue):
            rows = max(1, MAX_LOGITS // len(q))
            if q.device.type == "cpu":
                rows = min(rows, CPU_ROWS)
            negative = ChunkedLogSumExp.apply(q, queue, columns, temperature, rows)
        else:
            negative = whole_logsumexp(q, queue, temperature)
        return cross_entropy(q, k, negative, temperature)


def cross_entropy(q: Tensor, k: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """``info_nce`` from the logsumexp of the logits of the negatives.

    Args:
        q: ``(B, dim)`` queries of unit length, float32 or float64.
        k: ``(B, dim)`` their keys, of the same dtype.
        negative: ``(B,)``, over the queue.
        temperature: of the softmax, above 0.

    Returns:
        A scalar of the dtype of ``q``.
    """
    positive = (q * k).sum(1) / temperature  # (B,)
    # With the positive as the true class of 1 + K, without joining both to (B, 1 + K):
    # log(exp(positive) + exp(negative)) - positive
    return -F.logsigmoid(positive - negative).mean()


def in_chunks(q: Tensor, queue: Tensor) -> bool:
    """Whether the logits are made in chunks: on a CPU for its cache, else when they are many."""
    return q.device.type == "cpu" or len(q) * len(queue) > MAX_LOGITS


def whole_logsumexp(q: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """``(B,)``: logsumexp over the queue of all logits at once, which autograd keeps."""
    return (q @ queue.T / temperature).logsumexp(1)


class ChunkedLogSumExp(torch.autograd.Function):
    """``whole_logsumexp`` for ``rows`` keys at a time, without keeping logits.

    ``apply(q, queue, columns, temperature, rows)``. The gradient towards ``q`` is the mean of the
    keys, weighted by the softmax, over the temperature. It is summed in the forward pass, so no
    logit is computed twice. Sums are relative to the largest logit so far and rescaled when a
    larger one comes (online softmax: Milakov and Gimelshein, arXiv:1805.02867, section 3).
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, queue: Tensor, columns: Tensor | None, temperature: float, rows: int
    ) -> Tensor:
        """``(B,)`` for ``q (B, dim)``, ``queue (K, dim)`` and its transpose, or None."""
        scaled = q / temperature
        top = torch.full_like(q[:, 0], -torch.inf)  # (B,), as are total and decay
        total = torch.zeros_like(top)
        mean = torch.zeros_like(q)
        for start in range(0, len(queue), rows):
            part = queue[start : start + rows]
            logits = _product(scaled, part)  # (B, rows)
            before, top = top, torch.maximum(top, logits.amax(1))
            weights = logits.sub_(top[:, None]).exp_()
            decay = (before - top).exp_()  # 0 in the first chunk
            total.mul_(decay).add_(weights.sum(1))
            if ctx.needs_input_grad[0]:
                transposed = part.T if columns is None else columns[:, start : start + rows]
                mean.mul_(decay[:, None]).add_(_product(weights, transposed))  # (B, dim)
        ctx.save_for_backward(mean.div_((total * temperature)[:, None]))
        # A new tensor: up to torch 2.11 a compiled function that returns what an operation in place
        # gave has no gradient: exactly zero, without a word.
        return total.log_() + top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        """The gradient towards ``q``, ``(B, dim)``; the queue has none."""
        (mean,) = ctx.saved_tensors
        return mean * grads[0][:, None], None, None, None, None


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T``; float32 on a CPU by oneDNN, which is twice as fast as MKL on AMD (measured)."""
    if a.device.type == "cpu" and a.dtype == torch.float32 and ONEDNN:
        return F.linear(a.to_mkldnn(), b).to_dense()
    return a @ b.T


def chance_loss(queue_size: int, symmetric: bool) -> float:
    """Loss of an encoder that maps everything to one point: ``ln(K + 1)`` a direction."""
    return (2.0 if symmetric else 1.0) * math.log(queue_size + 1)
