"""The gradient of a MoCo step on a CPU, one BatchNorm group at a time.

A query meets others only inside its BatchNorm group, and all keys come first. So a group can go
forward, meet the queue and go backward before the next one starts, and what it needs meanwhile (64
images in place of 1,024) stays in the processor's cache. Each thread takes whole groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from engine.models.convnet_pass import Room
from engine.models.encoder import Encoder
from engine.models.fused_layers import can_fuse
from engine.models.moco import MoCo, shuffle
from engine.models.split_batchnorm import SplitBatchNorm2d, check_groups
from engine.native.library import OFF, PAIR_PRODUCTS
from engine.pretrain.queue_loss import QueueLoss
from engine.pretrain.replicas import Statistics, norms, replica
from engine.runtime.malloc import keep_freed_memory
from engine.runtime.worker_threads import WorkerThreads


class GroupwiseBackward:
    """Computes what ``MoCo.loss`` and ``backward`` compute, on a CPU, in a fraction of the time.

    Loss, keys, gradients and running statistics agree with those up to rounding. Dropout draws
    other bits of the same distribution. With the same number of threads, results repeat bit by bit.
    Sets the C library to keep freed memory, for the whole process (``engine.runtime.malloc``).

    Args:
        moco: the model, on the CPU; its parameters are read anew at each step.
        threads: groups that are worked on at the same time.
        dtype: of the convolutions; everything from the features on is float32.
        kernels: the level of the kernels in C that take what stands between two convolutions
            (``engine.native``), or ``off``.

    Attributes:
        kernels: the same; ``off`` where there are none for this encoder.
    """

    def __init__(
        self,
        moco: MoCo,
        *,
        threads: int,
        dtype: torch.dtype = torch.float32,
        kernels: str = OFF,
    ) -> None:
        keep_freed_memory()
        self.moco = moco
        self.splits = max((norm.num_splits for norm in norms(moco.encoder_q)), default=1)
        self.workers = WorkerThreads(threads)
        if kernels != OFF and not can_fuse(moco.encoder_q.backbone, dtype):
            kernels = OFF
        self.kernels = kernels
        # Embeddings of a backbone in bfloat16 carry the rounding of such products already.
        pairs = kernels == PAIR_PRODUCTS and dtype == torch.bfloat16
        self._loss = QueueLoss(moco, kernels if pairs else None, self.workers)
        rooms = [Room() for _ in range(threads)]
        self._replicas_q = [replica(moco.encoder_q, dtype, kernels, room) for room in rooms]
        self._replicas_k = [replica(moco.encoder_k, dtype, kernels, room) for room in rooms]

    def __call__(
        self, view_1: Tensor, view_2: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Set the gradients of encoder_q to those of the loss, in place of any that were there.

        Args:
            view_1: ``(B, 3, H, W)`` normalised images; the queries when not symmetric.
            view_2: the other view of the same images.
            generator: draws the shuffling of the keys; None: torch's default generator. Dropout
                always draws its seeds from the default generator.

        Returns:
            The loss, a float32 scalar without a gradient, and the keys as ``MoCo.loss`` returns
            them.

        Raises:
            ValueError: when the BatchNorm groups do not divide the batch.
        """
        check_groups(len(view_1), 1, self.splits)
        views = (view_1, view_2)
        for each in (*self._replicas_q, *self._replicas_k):
            each.refresh()
        keys = self._encode_keys(views, generator)
        loss = self._backward_queries(views, keys)
        return loss, (keys.flatten(0, 1) if self.moco.symmetric else keys[1])

    def _view_groups(self, views: Sequence[int]) -> list[tuple[int, int]]:
        """The pieces of work for the workers: (view, group) of every BatchNorm group."""
        return [(view, group) for view in views for group in range(self.splits)]

    @torch.no_grad()
    def _encode_keys(
        self, views: tuple[Tensor, Tensor], generator: torch.Generator | None
    ) -> Tensor:
        """Keys of both views ``(2, B, dim)``; of the second alone when not symmetric."""
        moco, splits = self.moco, self.splits
        batch, device = len(views[0]), views[0].device
        encoded = (0, 1) if moco.symmetric else (1,)
        # Drawn before the workers start, view by view as in MoCo.key_order: the same numbers.
        order = {
            view: shuffle(batch, generator, device) if moco.shuffle_keys else torch.arange(batch)
            for view in encoded
        }
        keys = moco.queue.new_empty(2, batch, moco.queue.shape[1])

        @torch.no_grad()  # again: the mode of the calling thread does not hold in a worker
        def encode(worker: int, view_group: tuple[int, int]) -> Statistics:
            view, group = view_group
            rows = order[view][group::splits]  # sample n is in group n mod splits
            encoded, statistics = self._replicas_k[worker].encode(views[view][rows])
            keys[view, rows] = encoded  # undoes the order
            return statistics

        statistics = self.workers.map(encode, self._view_groups(encoded))
        _track(moco.encoder_k, statistics, splits)
        return keys

    def _backward_queries(self, views: tuple[Tensor, Tensor], keys: Tensor) -> Tensor:
        """The loss over all groups; gradients and running statistics of encoder_q are set."""
        moco, splits = self.moco, self.splits
        view_groups = self._view_groups((0, 1) if moco.symmetric else (0,))
        # A dropout seed for each group: the draws must not depend on which thread comes first.
        seeds = self._replicas_q[0].draw_seeds(len(view_groups))
        self._loss.read()

        def backward(worker: int, item: tuple[tuple[int, int], Any]) -> tuple[Tensor, Statistics]:
            (view, group), seed = item
            images, k = views[view][group::splits], keys[1 - view, group::splits]
            kept = None if moco.kept is None or view else moco.kept[group::splits]
            # The mean over a view is the mean of its groups' means, which are of one size.
            return self._replicas_q[worker].backward(images, k, seed, self._loss, splits, kept)

        results = self.workers.map(backward, list(zip(view_groups, seeds, strict=True)))
        _track(moco.encoder_q, [statistics for _, statistics in results], splits)
        # With more workers than groups, some had nothing to do and hold no gradients.
        first, *others = [found for each in self._replicas_q if (found := each.gradients())]
        for more in others:
            torch._foreach_add_(first, more)
        for parameter, gradient in zip(moco.encoder_q.parameters(), first, strict=True):
            parameter.grad = gradient
        return torch.stack([loss for loss, _ in results]).sum()

    def close(self) -> None:
        """End the threads."""
        self.workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def can_group(backbone: nn.Module) -> bool:
    """Whether the gradient of a backbone can be computed group by group.

    A replica casts convolutions alone, and hands back the running statistics of split BatchNorm
    alone: an encoder of the user's own may hold other layers, and takes the plain step.
    """
    layers = [module for module in backbone.modules() if not any(True for _ in module.children())]
    known = (nn.Conv2d, SplitBatchNorm2d)
    return all(
        isinstance(layer, known)
        for layer in layers
        if any(True for _ in layer.parameters()) or any(True for _ in layer.buffers())
    )


def _track(encoder: Encoder, groups: Sequence[Statistics], splits: int) -> None:
    """Move the running statistics by those of all groups, which come view by view."""
    for i, norm in enumerate(norms(encoder)):
        shape = (-1, splits, norm.num_features)
        means = torch.stack([group.means[i] for group in groups])
        variances = torch.stack([group.variances[i] for group in groups])
        norm.track(means.view(shape), variances.view(shape))
