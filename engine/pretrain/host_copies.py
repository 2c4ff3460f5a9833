"""Values that were worked out beside the steps, on their way from the device to the host."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Measured(NamedTuple):
    """What was measured at a step.

    Attributes:
        step: its number.
        values: by the names of the metrics.
    """

    step: int
    values: dict[str, float]


class Arrived(NamedTuple):
    """Tensors of a step on the host.

    Attributes:
        step: its number.
        names: what the sender called them.
        tensors: as they were when they were sent.
    """

    step: int
    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]


class HostCopies:
    """Copies to the host for which nobody waits.

    Args:
        device: where the tensors are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Valid once its event has passed; without one they are.
        self._pending: list[tuple[Arrived, torch.cuda.Event | None]] = []

    def send(self, step: int, names: tuple[str, ...], *tensors: Tensor) -> None:
        """Begin to copy tensors, which nothing may overwrite later, without waiting for them."""
        if self._device.type != "cuda":
            on_host = tuple(tensor.cpu() for tensor in tensors)
            self._pending.append((Arrived(step, names, on_host), None))
            return
        with torch.cuda.device(self._device):
            on_host = tuple(
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors
            )
            for host, tensor in zip(on_host, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._pending.append((Arrived(step, names, on_host), copied))

    def read(self, *, wait: bool) -> list[Arrived]:
        """What has arrived, in the order in which it was sent.

        Args:
            wait: for all that was sent.
        """
        found: list[Arrived] = []
        while self._pending:
            arrived, copied = self._pending[0]
            if copied is not None:
                if wait:
                    copied.synchronize()
                elif not copied.query():  # type: ignore[no-untyped-call]
                    break
            self._pending.pop(0)
            found.append(arrived)
        return found
