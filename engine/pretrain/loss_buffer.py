"""The losses of the last steps, on their way from the device to the host."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


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
    block behind the steps, and at most two.

    Args:
        device: where the losses are computed.
        block: steps of a block; 1: every value is read at once (a CPU has computed it by then).
    """

    def __init__(self, device: torch.device, block: int) -> None:
        self._device, self._block = device, block
        self._new: list[tuple[int, float, Tensor]] = []
        self._in_flight: _Block | None = None  # its copy to the host has begun

    def add(self, step: int, lr: float, loss: Tensor) -> None:
        """Appends the loss of a step, a scalar on the device that nothing overwrites."""
        self._new.append((step, lr, loss))

    @property
    def full(self) -> bool:
        """Whether the newest block is complete."""
        return len(self._new) >= self._block

    def read_block(self) -> list[Loss]:
        """Begins to copy the newest block, and reads the one before it. In blocks of 1: all."""
        before, self._in_flight = self._in_flight, self._start_copy()
        return _read(before) + (self.read_all() if self._block == 1 else [])

    def read_all(self) -> list[Loss]:
        """Reads everything, in the order of the steps; waits for the device."""
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
