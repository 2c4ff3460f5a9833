"""Momentum contrast: two encoders, a queue of keys and the contrastive loss.

He et al., arXiv:1911.05722 (section 3), with the head of arXiv:2003.04297 as an option.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from engine.config.schema import MocoConfig, ModelConfig
from engine.models.dropout import Dropout
from engine.models.encoder import Encoder, build_encoder
from engine.models.split_batchnorm import at_least_float32, set_views

#: Logits of more entries than this are made in chunks of the queue and never kept whole (256 MiB).
MAX_LOGITS = 2**26
#: Whether torch was built with oneDNN.
ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
#: Columns of logits at a time on a CPU, for its cache.
CPU_ROWS = 4096


class MoCo(nn.Module):
    """Query encoder, momentum (key) encoder and the queue of keys.

    A step is, in this order: ``momentum_update``, ``loss``, ``backward`` of the loss, that of the
    optimizer, ``enqueue``. So no query meets the other view of its own image in the queue.

    The key encoder drops no units, its BatchNorm always uses the statistics of the batch, and no
    gradient reaches it. Everything is initialised from torch's default generator.

    Args:
        model: the encoder.
        moco: the method.
    """

    queue: Tensor
    queue_ptr: Tensor

    def __init__(self, model: ModelConfig, moco: MocoConfig) -> None:
        super().__init__()
        self.momentum = moco.momentum
        self.temperature = moco.temperature
        self.symmetric = moco.symmetric
        self.shuffle_keys = moco.shuffle_keys
        self.encoder_q = build_encoder(model)
        self.encoder_k: Encoder = copy.deepcopy(self.encoder_q).requires_grad_(False)
        for module in self.encoder_k.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
        queue = F.normalize(torch.randn(moco.queue_size, model.dim), dim=1)
        self.register_buffer("queue", queue)  # (K, dim), the oldest key at queue_ptr
        self.register_buffer("queue_ptr", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> MoCo:
        """As of any module, but the key encoder's BatchNorm stays with the batch's statistics."""
        super().train(mode)
        self.encoder_k.train()
        return self

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What the optimizer holds: the parameters of encoder_q and nothing else."""
        return self.encoder_q.parameters()

    def loss(
        self, view_1: Tensor, view_2: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The contrastive loss of a batch of pairs, and the keys to enqueue after the step.

        Each direction is InfoNCE (eq. 1) with the queue as it stands as negatives; the symmetric
        loss is the sum of both. Under ``torch.autocast`` the encoders run in its dtype; the
        embeddings are normalised and compared in float32.

        Args:
            view_1: ``(B, 3, 32, 32)`` normalised images; the queries when not symmetric.
            view_2: the other view of the same images.
            generator: draws the shuffling of the keys, on the images' device or the CPU; None:
                the default generator of the images' device.

        Returns:
            The loss, a float32 scalar with a gradient towards encoder_q, and the keys, ``(M, dim)``
            float32 without a gradient: M = 2B (view_1's, then view_2's) or B (view_2's).

        Raises:
            ValueError: when the BatchNorm groups do not divide the batch.
        """
        return self.loss_in_order(view_1, view_2, self.key_order(view_1, generator))

    def key_order(self, view: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """The order in which the keys of a step are encoded, int64, or None: as they stand.

        Each view of the keys is shuffled on its own: (2B,), or (B,) when not symmetric.
        """
        if not self.shuffle_keys:
            return None
        batch, views = len(view), 2 if self.symmetric else 1
        return torch.cat(
            [number * batch + shuffle(batch, generator, view.device) for number in range(views)]
        )

    def loss_in_order(
        self, view_1: Tensor, view_2: Tensor, order: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """``loss`` with the keys encoded in an order drawn before: no randomness but dropout's."""
        if not self.symmetric:
            query = self._embed(self.encoder_q, view_1, 1)
            keys = self._keys(view_2, 1, order)
            return info_nce(query, keys, self.queue, self.temperature), keys
        views = torch.cat((view_1, view_2))
        query_1, query_2 = self._embed(self.encoder_q, views, 2).chunk(2)
        keys = self._keys(views, 2, order)
        key_1, key_2 = keys.chunk(2)
        loss = info_nce(query_1, key_2, self.queue, self.temperature) + info_nce(
            query_2, key_1, self.queue, self.temperature
        )
        return loss, keys

    def _embed(self, encoder: Encoder, images: Tensor, views: int) -> Tensor:
        """``(V * B, dim)`` float32 embeddings of unit length."""
        set_views(encoder, views)
        try:
            embeddings = encoder(images)
        finally:
            set_views(encoder, 1)
        with torch.autocast(images.device.type, enabled=False):
            return F.normalize(at_least_float32(embeddings), dim=1)

    @torch.no_grad()
    def _keys(self, images: Tensor, views: int, order: Tensor | None) -> Tensor:
        """``(V * B, dim)`` keys in the order of ``images``, encoded in ``order``."""
        if order is None:
            return self._embed(self.encoder_k, images, views)
        shuffled = self._embed(self.encoder_k, images.index_select(0, order), views)
        return torch.empty_like(shuffled).index_copy_(0, order, shuffled)

    @torch.no_grad()
    def momentum_update(self) -> None:
        """Move the key encoder's parameters towards the query encoder's (eq. 2), in float32.

        The buffers of the key encoder are its own running statistics and are not touched.
        """
        torch._foreach_lerp_(
            list(self.encoder_k.parameters()),
            list(self.encoder_q.parameters()),
            1.0 - self.momentum,
        )

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put ``keys`` ``(M, dim)`` over the oldest of the queue; the newest K stay when M > K.

        Without a host synchronisation, and with static shapes, so that it can be captured.
        """
        size, count = len(self.queue), len(keys)
        kept = min(size, count)
        offsets = torch.arange(count - kept, count, device=self.queue.device)
        self.queue.index_copy_(
            0, (self.queue_ptr + offsets) % size, keys[count - kept :].to(self.queue.dtype)
        )
        self.queue_ptr.copy_((self.queue_ptr + count) % size)

    def extra_repr(self) -> str:
        """What ``print`` shows of the method."""
        return (
            f"queue={tuple(self.queue.shape)}, momentum={self.momentum}, "
            f"temperature={self.temperature}, symmetric={self.symmetric}"
        )


def shuffle(n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """A random permutation of ``n`` as int64 on ``device``, drawn where the generator lives.

    Sorting random numbers can be captured in a CUDA graph; equal numbers (of 24 bits) keep their
    order, which for 512 images concerns one pair in a hundred permutations.
    """
    place = device if generator is None else generator.device
    numbers = torch.rand(n, generator=generator, device=place)
    return numbers.argsort(stable=True).to(device, non_blocking=True)


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
        positive = (q * k).sum(1) / temperature  # (B,)
        negative: Tensor
        if in_chunks(q, queue):
            rows = max(1, MAX_LOGITS // len(q))
            if q.device.type == "cpu":
                rows = min(rows, CPU_ROWS)
            negative = ChunkedLogSumExp.apply(q, queue, columns, temperature, rows)
        else:
            negative = whole_logsumexp(q, queue, temperature)
        # log(exp(positive) + exp(negative)) - positive
        return -F.logsigmoid(positive - negative).mean()


def in_chunks(q: Tensor, queue: Tensor) -> bool:
    """Whether the logits are made in chunks: on a CPU for its cache, else when they are many."""
    return q.device.type == "cpu" or len(q) * len(queue) > MAX_LOGITS


def whole_logsumexp(q: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """``(B,)``: logsumexp over the queue of all logits at once, which autograd keeps."""
    return (q @ queue.T / temperature).logsumexp(1)


class ChunkedLogSumExp(torch.autograd.Function):
    """The same for ``rows`` keys at a time, ``apply(q, queue, columns, temperature, rows)``.

    The gradient towards ``q`` is the mean of the keys under the softmax. It is gathered on the way
    forward, against the largest logit so far, so no logit is computed twice or kept.
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
            decay = (before - top).exp_()
            total.mul_(decay).add_(weights.sum(1))
            if ctx.needs_input_grad[0]:
                across = part.T if columns is None else columns[:, start : start + rows]
                mean.mul_(decay[:, None]).add_(_product(weights, across))
        ctx.save_for_backward(mean.div_((total * temperature)[:, None]))
        return total.log_().add_(top)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        """The gradient towards ``q``; the queue has none."""
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
