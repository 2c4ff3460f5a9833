"""Our whole step as the trainer runs it, and its two halves: the data and the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from engine.config import PretrainConfig
from engine.device import Runtime, apply_runtime, resolve_runtime
from engine.presets import resolve
from engine.pretrain import Pretraining
from engine.shapes import TRAIN_IMAGES, generate

Part = Literal["whole", "model", "data"]


def pictures(count: int) -> Tensor:
    """``(count, 3, 32, 32)`` uint8: the drawn shapes, as often as they are needed."""
    drawn = generate(min(count, TRAIN_IMAGES), seed=0)[0]
    return drawn.repeat(-(-count // len(drawn)), 1, 1, 1)[:count].contiguous()


def start(
    values: Mapping[str, Any], images: Tensor, *, preset: str = "notebook"
) -> tuple[Pretraining, Runtime]:
    """A pretraining of the preset with these settings over it; the process is set up for it."""
    config = resolve(PretrainConfig, preset_name=preset, extra=values)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=config.runtime.deterministic)
    return Pretraining(config, images, runtime), runtime


class Ours:
    """A pretraining as a way to be timed; its loss is read at each step on a CPU, as in a run.

    Args:
        training: may be shared by several parts; each goes on where another stopped.
        part: ``whole``; ``data``: gather, draw and apply the augmentations, normalise; ``model``:
            everything else, on views that stay the same.
    """

    def __init__(self, training: Pretraining, part: Part = "whole", *, warm: int = 2) -> None:
        self.training, self.part, self.warm = training, part, warm
        self.device = training.runtime.device

    def open(self) -> None:
        training = self.training
        if self.part == "model":
            views = training._views(training._batch())
            training._views = lambda _images: views  # type: ignore[method-assign]
        for _ in range(self.warm):
            self.step()

    def step(self) -> None:
        training = self.training
        if self.part == "data":
            training._views(training._batch())
            training.step += 1  # the next batch of the epoch
            return
        loss = training.advance()
        if self.device.type == "cpu":
            float(loss)

    def close(self) -> None:
        self.training.__dict__.pop("_views", None)


def settings(device: str, threads: int) -> dict[str, Any]:
    """What the benchmark sets over a preset."""
    return {"runtime.device": device, "runtime.threads": threads}


def finite(training: Pretraining) -> bool:
    """Whether the parameters are numbers."""
    return all(bool(torch.isfinite(p).all()) for p in training.model.encoder_q.parameters())
