"""A small pretraining on a CPU, and a stand-in for what records its step on CUDA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from engine.captured import CaptureError
from engine.config import PretrainConfig
from engine.data import Dataset, Split
from engine.device import Runtime
from engine.presets import build

RUNTIME = Runtime(torch.device("cpu"), "cpu", bfloat16=False, threads=1)
TINY = {
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 20,  # neither a divisor nor a multiple of the keys of a step
    "optim.batch_size": 8,
    "optim.epochs": 4,
    "monitor.knn_every": 2,
    "monitor.knn_k": 5,
    "data.holdout": 0.25,
    "augment.flip.enabled": True,
    "augment.gray.enabled": True,
}


def config_with(**values: Any) -> PretrainConfig:
    return build(PretrainConfig, TINY | {k.replace("__", "."): v for k, v in values.items()})


def noise() -> Dataset:
    """28 images of noise in four classes."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (28, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Dataset("noise", Split(images, torch.arange(28) % 4), None, ("a", "b", "c", "d"))


class Standin:
    """Records and replays on a CPU; on a replay, nothing may have moved since the recording."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.recordings = self.replays = self.closed = 0
        self.step: Callable[[], None] | None = None

    def warm_up(self, step: Callable[[], None]) -> None:
        step()
        if self.broken == "warm-up":
            try:
                raise RuntimeError("an operation that cannot\n(second line)")
            except RuntimeError:
                # as at the end of a recording, whose error chains itself to the first
                raise RuntimeError("failed due to a previous error")  # noqa: B904
        if self.broken == "memory":
            raise torch.OutOfMemoryError("full")

    def record(self, step: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        if self.broken == "recording":
            step()
            raise CaptureError("operation not permitted when stream is capturing")
        self.step, self.recordings = step, self.recordings + 1

    def replay(self) -> None:
        assert self.step is not None
        self.step()
        self.replays += 1

    def close(self) -> None:
        self.step, self.closed = None, self.closed + 1
