"""Our whole step as the trainer runs it, and its two halves: the data and the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.data.shapes import TRAIN_IMAGES, generate
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.runtime.cuda_graph import recorder_for
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime

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
        training: its own; a part other than the whole changes what its step does.
        part: ``whole``; ``data``: gather, draw and apply the augmentations, normalise; ``model``:
            everything else, on views that stay the same. On CUDA each is recorded and replayed
            where the whole step is.
    """

    def __init__(self, training: Pretraining, part: Part = "whole", *, warm: int = 2) -> None:
        self.training, self.warm = training, warm
        self.device = training.state.runtime.device
        self.work: Callable[[], object] = self._advance
        if part == "model":
            step = plain_step(training)
            views = step.views(self._next_images())
            step.views = lambda images: views  # type: ignore[method-assign]
        elif part == "data":
            self.work = self._augment
            recorder = recorder_for(self.device, training.choice.capture)
            if recorder is not None:
                training.prepare()  # the augmentations are compiled where those of a run are
                state, step = training.state, plain_step(training)
                indices = state.next_indices()

                def augment() -> None:
                    step.views(state.images.index_select(0, indices))

                recorder.warm_up(augment)
                recorder.record(augment, state.generators())
                self.work = recorder.replay

    def open(self) -> None:
        for _ in range(self.warm):
            self.step()

    def step(self) -> None:
        self.work()

    def _advance(self) -> None:
        loss = self.training.advance()
        if self.device.type == "cpu":
            float(loss)

    def _augment(self) -> None:
        plain_step(self.training).views(self._next_images())
        self.training.state.step += 1  # the next batch of the epoch

    def _next_images(self) -> Tensor:
        state = self.training.state
        return state.images.index_select(0, state.next_indices())

    def close(self) -> None:
        pass


def plain_step(training: Pretraining) -> PlainStep | GroupwiseStep:
    """The step that a recording and the compiler wrap."""
    step: Any = training.compute_step
    while not isinstance(step, PlainStep | GroupwiseStep):
        step = step.inner
    return step


def settings(device: str, threads: int) -> dict[str, Any]:
    """What the benchmark sets over a preset."""
    return {"runtime.device": device, "runtime.threads": threads}


def finite(training: Pretraining) -> bool:
    """Whether every parameter of the query encoder is finite."""
    return all(bool(torch.isfinite(p).all()) for p in training.state.model.encoder_q.parameters())
