"""The queue as the kernels take it, and the logsumexp of queries over it.

A query meets the keys as products of bfloat16 pairs, summed in float32, and no logit is kept. Where
an encoder is computed in bfloat16 its embeddings carry that rounding already.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.native.library import call, level_number

PART = 1536
"""Keys that are packed by one call: a multiple of the kernel's tile."""
_TILE, _MEAN_WIDTH = 192, 64  # of dictionary.h


class PackedQueue:
    """Keys of a queue in bfloat16, in the two orders that both products read them in.

    Args:
        keys: how many, at least 1.
        dim: components of a key, at least 1.
        level: of the kernels, one that multiplies pairs.
    """

    def __init__(self, keys: int, dim: int, level: str) -> None:
        self.keys, self.dim = keys, dim
        self.level = level_number(level)
        padded, width = -(-keys // _TILE) * _TILE, -(-dim // _MEAN_WIDTH) * _MEAN_WIDTH
        self.logits_form, self.mean_form = torch.empty(
            2, padded * width, dtype=torch.bfloat16
        ).unbind()

    @staticmethod
    def bytes_of(keys: int, dim: int) -> int:
        """Memory that a packed queue takes, up to padding."""
        return 4 * keys * dim

    def parts(self) -> range:
        """The first keys of the parts that ``pack`` takes, in any order and by any thread."""
        return range(0, self.keys, PART)

    def pack(self, queue: Tensor, first: int) -> None:
        """Takes over ``PART`` keys of a queue, or as many as are left.

        Args:
            queue: float32 ``(keys, dim)``, contiguous.
            first: of ``parts``.
        """
        call(
            "pack_keys",
            self.level,
            queue.data_ptr(),
            self.logits_form.data_ptr(),
            self.mean_form.data_ptr(),
            first,
            min(PART, self.keys - first),
            self.keys,
            self.dim,
        )

    def logsumexp(self, q: Tensor, temperature: float) -> Tensor:
        """Logsumexp of ``q . key / temperature`` over all keys, float32 ``(n,)``.

        Args:
            q: float32 ``(n, dim)`` on the CPU.
            temperature: above 0.
        """
        out: Tensor = _LogSumExp.apply(q, self, temperature)
        return out

    def info_nce(
        self, embeddings: Tensor, keys: Tensor, temperature: float, factor: float
    ) -> tuple[Tensor, Tensor]:
        """Losses of queries, and the gradient of their sum times ``factor``; see ``info_nce``.

        Args:
            embeddings: float32 ``(n, dim)``, the queries before they are brought to unit length.
            keys: float32 ``(n, dim)`` of unit length, their own.
            temperature: above 0.
            factor: of the gradient.

        Returns:
            float32 ``(n,)``, and ``(n, dim)`` towards the embeddings, both without a graph.
        """
        embeddings, keys = embeddings.detach().contiguous(), keys.contiguous()
        losses, gradient = torch.empty(len(embeddings)), torch.empty_like(embeddings)
        call(
            "info_nce",
            self.level,
            embeddings.data_ptr(),
            keys.data_ptr(),
            self.logits_form.data_ptr(),
            self.mean_form.data_ptr(),
            temperature,
            factor,
            losses.data_ptr(),
            gradient.data_ptr(),
            len(embeddings),
            self.keys,
            self.dim,
        )
        return losses, gradient


class _LogSumExp(torch.autograd.Function):
    """See ``PackedQueue.logsumexp``; the gradient is made in the forward pass."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, packed: PackedQueue, temperature: float) -> Tensor:
        q = q.contiguous()
        out = q.new_empty(len(q))
        gradient = torch.empty_like(q) if ctx.needs_input_grad[0] else None
        call(
            "logsumexp",
            packed.level,
            q.data_ptr(),
            packed.logits_form.data_ptr(),
            packed.mean_form.data_ptr(),
            temperature,
            out.data_ptr(),
            None if gradient is None else gradient.data_ptr(),
            len(q),
            packed.keys,
            packed.dim,
        )
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][:, None], None, None
