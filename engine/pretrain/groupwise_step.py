"""The step of a CPU: images and BatchNorm groups are shared out among threads.

Where kernels in C were built (``engine.native``), they take the augmentations and what stands
between two convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.augment.augmenter import normalise
from engine.augment.native_augmenter import NativeAugmenter
from engine.native.library import OFF
from engine.pretrain.groupwise_backward import GroupwiseBackward
from engine.pretrain.plain_step import StepKind
from engine.pretrain.training_state import TrainingState
from engine.runtime.worker_threads import single_threaded

# Images that a worker augments at a time: 0.8 MB a tensor, which stays in the processor's cache.
_AUGMENT_ROWS = 64


class GroupwiseStep:
    """What ``PlainStep`` computes up to rounding, faster on a CPU; see ``GroupwiseBackward``.

    Args:
        state: of the pretraining, on the CPU.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self._dtype = torch.bfloat16 if state.runtime.bfloat16 else torch.float32
        self._backward = GroupwiseBackward(
            state.model,
            threads=state.runtime.threads,
            dtype=self._dtype,
            kernels=state.runtime.kernels,
        )
        self._native: NativeAugmenter | None = None
        # The kernel reads the images by their address.
        plain = state.images.dtype == torch.uint8 and state.images.is_contiguous()
        if state.runtime.kernels != OFF and plain and NativeAugmenter.can_take(state.augmenter):
            self._native = NativeAugmenter(
                state.augmenter, state.mean, state.std, state.runtime.kernels
            )

    @property
    def kind(self) -> StepKind:
        """As in ``Step``: ``native`` where kernels take any part."""
        return "native" if self._native or self._backward.kernels != OFF else "groupwise"

    def prepare(self) -> list[str]:
        """Nothing to do."""
        return []

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``."""
        state, model = self.state, self.state.model
        # The workers take all cores; torch's own threads would compete with them for these.
        with single_threaded():
            view_1, view_2 = self.views(indices)
            model.momentum_update()
            loss, keys = self._backward(view_1, view_2, state.shuffle_generator)
            state.note_gradient()
            state.optimizer.step()
            model.enqueue(keys)  # last: see PlainStep
        return loss.detach()

    def views(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Two augmented, normalised views ``(B, 3, H, W)``, channels_last, of images.

        Args:
            indices: ``(B,)`` int64, the images.

        Returns:
            float32; where kernels in C make them, in the dtype of the convolutions.
        """
        state, augmenter = self.state, self.state.augmenter
        both = torch.cat([indices, indices])
        numbers = augmenter.uniform_numbers(
            len(both), state.augment_generator, state.own_generators
        )
        params = augmenter.params(numbers)
        dtype = torch.float32 if self._native is None else self._dtype
        shape = (len(both), 3, augmenter.size, augmenter.size)
        views = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        batch = None if self._native is None else self._native.prepare(state.images, params)

        def augment(worker: int, start: int) -> None:  # noqa: ARG001 - any worker can do it
            rows = slice(start, start + _AUGMENT_ROWS)
            if batch is not None:
                batch.compute(both[rows], views[rows], start)
                return
            images = state.images.index_select(0, both[rows])
            augmented = augmenter.apply(images, params.take(rows))
            views[rows] = normalise(augmented, state.mean, state.std)

        self._backward.workers.map(augment, range(0, len(both), _AUGMENT_ROWS))
        return views.chunk(2)

    def release(self) -> None:
        """Nothing to drop: parameters are read anew at each step."""

    def close(self) -> None:
        """Ends the threads."""
        self._backward.close()
