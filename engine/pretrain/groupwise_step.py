"""The step of a CPU: images and BatchNorm groups are shared out among threads."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.augment.augmenter import normalise
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

    kind: StepKind = "groupwise"

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self._backward = GroupwiseBackward(
            state.model,
            threads=state.runtime.threads,
            dtype=torch.bfloat16 if state.runtime.bfloat16 else torch.float32,
        )

    def prepare(self) -> list[str]:
        """Nothing to do."""
        return []

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``."""
        state, model = self.state, self.state.model
        # The workers take all cores; torch's own threads would compete with them for these.
        with single_threaded():
            view_1, view_2 = self.views(state.images.index_select(0, indices))
            model.momentum_update()
            loss, keys = self._backward(view_1, view_2, state.shuffle_generator)
            state.optimizer.step()
            model.enqueue(keys)  # last: see PlainStep
        return loss.detach()

    def views(self, images: Tensor) -> tuple[Tensor, ...]:
        """Two augmented, normalised views ``(B, 3, 32, 32)`` of uint8 images, channels_last."""
        state, augmenter = self.state, self.state.augmenter
        both = torch.cat([images, images])
        numbers = augmenter.uniform_numbers(
            len(both), state.augment_generator, state.own_generators
        )
        params = augmenter.params(numbers)
        views = torch.empty(both.shape).contiguous(memory_format=torch.channels_last)  # float32

        def augment(worker: int, start: int) -> None:  # noqa: ARG001 - any worker can do it
            rows = slice(start, start + _AUGMENT_ROWS)
            augmented = augmenter.apply(both[rows], params.take(rows))
            views[rows] = normalise(augmented, state.mean, state.std)

        self._backward.workers.map(augment, range(0, len(both), _AUGMENT_ROWS))
        return views.chunk(2)

    def release(self) -> None:
        """Nothing to drop: parameters are read anew at each step."""

    def close(self) -> None:
        """Ends the threads."""
        self._backward.close()
