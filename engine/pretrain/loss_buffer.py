"""The losses of the last steps, on their way from the device to the host."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Loss(NamedTuple):
    """Of one step: its number, its learning rate and its value, which may not be finite."""

    step: int
    rate: float
    value: float


class _Block(NamedTuple):
    steps: list[tuple[int, float]]
    values: Tensor  # (n,) float32 on the host, written when ``copied`` has passed
    copied: torch.cuda.Event | None


class LossBuffer:
    """Holds losses until their values are wanted, and reads them in blocks.

    Reading a value waits for its step. On CUDA a block is copied while the next steps are already
    at work, so the device runs dry neither at the end of a block nor while its values are told:
    the host is one block behind and at most two ahead.

    Args:
        device: where the losses are computed.
        block: steps of a block; 1: every value is read at once.
    """

    def __init__(self, device: torch.device, block: int) -> None:
        self._device, self._block = device, block
        self._new: list[tuple[int, float, Tensor]] = []
        self._coming: _Block | None = None

    def add(self, step: int, rate: float, loss: Tensor) -> None:
        """Put down the loss of a step, a scalar on the device that nothing writes over."""
        self._new.append((step, rate, loss))

    @property
    def full(self) -> bool:
        """Whether the newest block is whole."""
        return len(self._new) >= self._block

    def turn(self) -> list[Loss]:
        """Close the newest block, and read the one before it. In blocks of 1: all of them."""
        before, self._coming = self._coming, self._send()
        return _read(before) + (self.drain() if self._block == 1 else [])

    def drain(self) -> list[Loss]:
        """Read everything, in the order of the steps; waits for the device."""
        blocks, self._coming = (self._coming, self._send()), None
        return [loss for block in blocks for loss in _read(block)]

    def _send(self) -> _Block | None:
        if not self._new:
            return None
        values = torch.stack([loss for _, _, loss in self._new])
        steps = [(step, rate) for step, rate, _ in self._new]
        self._new.clear()
        if self._device.type != "cuda":
            return _Block(steps, values.cpu(), None)
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
    return [
        Loss(step, rate, value) for (step, rate), value in zip(block.steps, values, strict=True)
    ]
