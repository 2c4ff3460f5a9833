"""The loss of one group of queries against the queue as it is at a step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.info_nce import cross_entropy, info_nce
from engine.models.moco import MoCo
from engine.native.packed_queue import PackedQueue
from engine.runtime.worker_threads import WorkerThreads

# Keys times their components up to which the queue is transposed for a step: 256 MiB.
_TRANSPOSED_QUEUE = 2**26
# The same for the copy of the kernels: 2 GiB. With a million keys of 512 components it takes 2 %
# more memory at the peak than no copy, and makes a step three times as fast.
_PACKED_QUEUE = 2**29


class QueueLoss:
    """InfoNCE over the queue, which is read once for all groups of a step.

    Args:
        moco: whose queue it is.
        kernels: level of the kernels that multiply pairs of bfloat16; None: products of float32.
        workers: that read the queue.
    """

    def __init__(self, moco: MoCo, kernels: str | None, workers: WorkerThreads) -> None:
        self._moco, self._workers = moco, workers
        self._packed: PackedQueue | None = None
        self._columns: Tensor | None = None
        components = moco.queue.numel()
        self._transposed = components <= _TRANSPOSED_QUEUE
        can_pack = moco.queue.dtype == torch.float32 and components <= _PACKED_QUEUE
        if kernels is not None and can_pack:
            keys, dim = moco.queue.shape
            self._packed = PackedQueue(keys, dim, kernels)

    @property
    def packed(self) -> bool:
        """Whether products are those of bfloat16 pairs."""
        return self._packed is not None

    def read(self) -> None:
        """Take over the queue as it is, before the groups of a step."""
        packed, queue = self._packed, self._moco.queue
        if packed is not None:
            whole = queue.contiguous()
            self._workers.map(lambda _worker, first: packed.pack(whole, first), packed.parts())
        else:
            # Transposed once for all groups, unless the copy would be large.
            self._columns = queue.T.contiguous() if self._transposed else None

    def of(self, q: Tensor, k: Tensor) -> Tensor:
        """The mean loss of queries, with a gradient.

        Args:
            q: ``(N, dim)`` queries of unit length.
            k: ``(N, dim)`` their keys.
        """
        temperature = self._moco.temperature
        if self._packed is not None:
            return cross_entropy(q, k, self._packed.logsumexp(q, temperature), temperature)
        return info_nce(q, k, self._moco.queue, temperature, self._columns)

    def with_gradient(self, embeddings: Tensor, k: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """The mean loss times ``share``, and its gradient towards the embeddings.

        Args:
            embeddings: ``(N, dim)``, the queries before they are brought to unit length.
            k: ``(N, dim)`` their keys.
            share: of the loss of the batch.
        """
        if self._packed is not None:
            losses, gradient = self._packed.info_nce(
                embeddings, k, self._moco.temperature, share / len(k)
            )
            return losses.mean() * share, gradient
        leaf = embeddings.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.of(F.normalize(leaf, dim=1), k) * share
            (gradient,) = torch.autograd.grad(loss, [leaf])
        return loss.detach(), gradient
