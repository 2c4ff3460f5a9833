"""The losses of the last steps, on their way from the device to the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MOST = 64
"""Largest block, in steps."""

SECONDS = 0.05
"""Of a block, as nearly as whole steps allow. Two may be under way, and a stop or a hand-over waits
for them."""


class Loss(NamedTuple):
    """Of one step.

    Attributes:
        step: its number, from 1.
        lr: its learning rate.
        value: the loss, which may not be finite.
    """

    step: int
    lr: float
    value: float


class _Block(NamedTuple):
    steps: list[tuple[int, float]]  # number and learning rate
    values: Tensor  # (n,) float32 on the host, valid once ``copied`` has passed
    copied: torch.cuda.Event | None


class LossBuffer:
    """Collects losses, and reads them from the device in blocks.

    Reading a value waits for its step. On CUDA a block is copied while the next steps are already
    queued, so the device never idles while values are read and reported. The values read are one
    block behind the steps, and at most two. A block has as many steps as take ``SECONDS``, by the
    time between the last two readings.

    Args:
        device: where the losses are computed.
        ahead: whether steps are queued ahead of their losses. Otherwise every value is read at
            once: a CPU has computed it by then.
        clock: seconds.

    Attributes:
        block: steps of the newest block.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        ahead: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device, self._ahead, self._clock = device, ahead, clock
        self.block = 1
        self._new: list[tuple[int, float, Tensor]] = []
        self._in_flight: _Block | None = None  # its copy to the host has begun
        self._read_at: float | None = None  # when a block was read, if only steps came after it

    def add(self, step: int, lr: float, loss: Tensor) -> None:
        """Appends the loss of a step, a scalar on the device that nothing overwrites."""
        self._new.append((step, lr, loss))

    @property
    def full(self) -> bool:
        """Whether the newest block is complete."""
        return len(self._new) >= self.block

    def read_block(self) -> list[Loss]:
        """Begins to copy the newest block, and reads the one before it; all if not ``ahead``."""
        if not self._ahead:
            return self.read_all()
        before, self._in_flight = self._in_flight, self._start_copy()
        losses = _read(before)
        if losses:
            launched = 0 if self._in_flight is None else len(self._in_flight.steps)
            self._resize(len(losses), launched)
        return losses

    def _resize(self, computed: int, launched: int) -> None:
        """Sets the size of the next block.

        Args:
            computed: steps that the device has computed since the reading before.
            launched: steps that the host has launched meanwhile. Only where both are as many is it
                known how long one takes; else no more than how long it takes at least.
        """
        now, before = self._clock(), self._read_at
        self._read_at = now
        if before is None:
            return
        fitting = max(1, round(SECONDS * max(computed, launched) / max(now - before, 1e-9)))
        if computed == launched == self.block:
            # At most twice the last: the first steps after a start or a pause may seem fast, since
            # the host launches them without waiting for the device.
            self.block = min(fitting, 2 * self.block, MOST)
        else:
            self.block = min(fitting, self.block)

    def read_all(self) -> list[Loss]:
        """Reads everything, in the order of the steps; waits for the device."""
        self._read_at = None  # what comes now (kNN, a checkpoint, a pause) is no step
        blocks, self._in_flight = (self._in_flight, self._start_copy()), None
        return [loss for block in blocks for loss in _read(block)]

    def _start_copy(self) -> _Block | None:
        if not self._new:
            return None
        values = torch.stack([loss for _, _, loss in self._new])
        steps = [(step, lr) for step, lr, _ in self._new]
        self._new.clear()
        if self._device.type != "cuda":
            return _Block(steps, values.cpu(), None)
        # Only into pinned memory does a copy run beside the host; the event says when it is done.
        host = torch.empty(len(steps), dtype=values.dtype, pin_memory=True)
        with torch.cuda.device(self._device):
            host.copy_(values, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        return _Block(steps, host, copied)


def _read(block: _Block | None) -> list[Loss]:
    if block is None:
        return []
    if block.copied is not None:
        block.copied.synchronize()
    values = block.values.tolist()
    return [Loss(step, lr, value) for (step, lr), value in zip(block.steps, values, strict=True)]
