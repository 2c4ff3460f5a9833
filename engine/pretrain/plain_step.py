"""A step of MoCo as it is written in the paper, and what every way of computing a step offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from engine.augment.augmenter import normalise
from engine.pretrain.training_state import TrainingState

StepKind = Literal[
    "plain",
    "groupwise",
    "native",
    "captured",
    "fused",
    "fused and captured",
    "kernels",
    "kernels and captured",
]
"""How a step is computed.

- ``plain``: the whole batch, one operation after another;
- ``groupwise``: a BatchNorm group at a time, on the threads of a CPU;
- ``native``: the same with kernels in C;
- ``fused``: with operations joined into fewer kernels by torch.compile;
- ``kernels``: with kernels in Triton between the convolutions, and for the augmentations;
- ``captured``: recorded as a CUDA graph and replayed.
"""


class Step(Protocol):
    """A way of computing a step: it changes a ``TrainingState``, all but its count of steps."""

    @property
    def kind(self) -> StepKind:
        """How a step is computed now; of a fused or captured one, known once it is prepared."""

    def prepare(self) -> list[str]:
        """Compiles and records what has to be, if that was not done yet; the state stays as it is.

        What is not possible here is left out from then on.

        Returns:
            Why something was not possible, as sentences for the log.

        Raises:
            torch.OutOfMemoryError: when a plain step does not fit the device.
        """

    def __call__(self, indices: Tensor) -> Tensor:
        """Computes one step.

        Args:
            indices: ``(B,)`` int64 on the device, the images of the batch.

        Returns:
            The loss, a float32 scalar on the device, without a graph.
        """

    def release(self) -> None:
        """Drops what holds addresses of tensors, since these are to move; ``prepare`` renews it."""

    def close(self) -> None:
        """Gives everything back; the step is not computed again."""


class PlainStep:
    """The step of the whole batch (He et al., arXiv:1911.05722, algorithm 1).

    Where the state is static, its shapes never depend on data, it never waits for the device, and
    it changes tensors in place: it can be recorded.

    Args:
        state: of the pretraining.

    Attributes:
        augment: uint8 images ``(B, 3, H, W)`` and uniform random numbers of two views to the
            views ``(2B, 3, H, W)``, the second ones behind the first; float32, or bfloat16 where
            the first convolution is computed in it.
        loss: as ``MoCo.loss_in_order``. Both hold no randomness but dropout's, and may be replaced
            by a compiled form.
        key_order: as ``MoCo.key_order``.
        enqueue: as ``MoCo.enqueue``.
        momentum_update: as ``MoCo.momentum_update``.
        optimise: notes the norm of the gradient, if it is wanted, and takes the optimizer's step.
            These four may be replaced by what does the same.
    """

    kind: StepKind = "plain"

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.augment: Callable[[Tensor, Tensor], Tensor] = self._augment_as_written
        self.loss: Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]] = (
            state.model.loss_in_order
        )
        self.key_order = state.model.key_order
        self.enqueue = state.model.enqueue
        self.momentum_update = state.model.momentum_update
        self.optimise = self._optimise_as_written

    def prepare(self) -> list[str]:
        """Nothing to do."""
        return []

    def __call__(self, indices: Tensor) -> Tensor:
        """As in ``Step``."""
        state, runtime = self.state, self.state.runtime
        view_1, view_2 = self.views(state.images.index_select(0, indices))
        self.momentum_update()
        # Drawn outside the loss, whose compiled form would draw other numbers.
        key_order = self.key_order(view_1, state.shuffle_generator)
        with torch.autocast(runtime.device.type, dtype=torch.bfloat16, enabled=runtime.bfloat16):
            loss, keys = self.loss(view_1, view_2, key_order)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimise()
        # Last, so that no query meets the other view of its own image among the negatives.
        self.enqueue(keys)
        return loss.detach()

    def views(self, images: Tensor) -> tuple[Tensor, ...]:
        """Two augmented, normalised views ``(B, 3, H, W)`` of uint8 images, channels_last."""
        state = self.state
        numbers = state.augmenter.uniform_numbers(
            2 * len(images), state.augment_generator, state.own_generators
        )
        return self.augment(images, numbers.to(images.device)).chunk(2)

    def _augment_as_written(self, images: Tensor, numbers: Tensor) -> Tensor:
        return augmented(self.state, torch.cat([images, images]), numbers)

    def _optimise_as_written(self) -> None:
        self.state.note_gradient()
        self.state.optimizer.step()

    def release(self) -> None:
        """Nothing to drop."""

    def close(self) -> None:
        """Nothing to give back."""


def augmented(state: TrainingState, images: Tensor, numbers: Tensor) -> Tensor:
    """A view of each image as a step makes it.

    Args:
        state: of the pretraining.
        images: uint8 ``(N, 3, H, W)`` on the device.
        numbers: the uniform random numbers of each, as of ``Augmenter.uniform_numbers``.

    Returns:
        ``(N, 3, size, size)`` normalised floats, channels_last.
    """
    params = state.augmenter.params(numbers)
    # Static means dense on a CPU too, where the tests record steps with a stand-in for CUDA.
    made = state.augmenter.apply(images, params, dense=True if state.static else None)
    views = normalise(made, state.mean, state.std)
    return views.contiguous(memory_format=torch.channels_last)
