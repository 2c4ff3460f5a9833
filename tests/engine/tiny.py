"""A small pretraining on a CPU, and a stand-in for what records its step on CUDA."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, Split
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.loop import pretrain
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.runtime.cuda_graph import CaptureError
from engine.runtime.device import Runtime
from engine.sink import NullSink, Plan, Request

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
    "augment.grayscale.enabled": True,
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

    def stream(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

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


class Script(NullSink):
    """Records everything; asks for ``requests[step]`` once the metrics of ``step`` have passed."""

    def __init__(self, requests: dict[int, list[Request]] | None = None) -> None:
        self.requests = {step: list(wanted) for step, wanted in (requests or {}).items()}
        self.step = 0
        self.lines: dict[tuple[int, str], float] = {}
        self.acknowledged: list[tuple[Request, int]] = []
        self.logged: list[str] = []
        self.facts: dict[str, Any] = {}

    def plan(self, plan: Plan) -> None:
        self.facts = plan.facts

    def log(self, text: str) -> None:
        self.logged.append(text)

    def metrics(self, step: int, epoch: float, values: Any) -> None:
        self.lines |= {(step, key): value for key, value in values.items()}
        if "train/loss" in values:
            assert step == self.step + 1 or not self.step
            self.step = step

    def request(self) -> Request | None:
        wanted = next((w for step, w in self.requests.items() if step <= self.step and w), None)
        return wanted[0] if wanted else None

    def acknowledge(self, request: Request, step: int) -> None:
        wanted = next(w for at, w in self.requests.items() if at <= self.step and w)
        assert wanted.pop(0) == request
        self.acknowledged.append((request, step))


def run(
    config: PretrainConfig,
    dataset: Dataset,
    path: Path,
    sink: Script,
    state: dict[str, Any] | None = None,
) -> str:
    return pretrain(
        config, dataset=dataset, runtime=RUNTIME, sink=sink, checkpoint=path, state=state
    )


def plain_step(training: Pretraining) -> PlainStep | GroupwiseStep:
    """The step that a recording and the compiler wrap."""
    step: Any = training.compute_step
    while not isinstance(step, PlainStep | GroupwiseStep):
        step = step.inner
    return step


def moved(training: Pretraining) -> tuple[float, Tensor]:
    """The loss of a step, and by how much it moved the query encoder's parameters."""
    parameters = list(training.state.model.encoder_q.parameters())
    before = [p.detach().clone() for p in parameters]
    loss = float(training.advance())
    steps = [(p - old).flatten() for p, old in zip(parameters, before, strict=True)]
    return loss, torch.cat(steps).detach()


def compare(
    one: Pretraining,
    other: Pretraining,
    steps: int,
    *,
    loss: float,
    update: float,
    buffers: float,
    wide: Pretraining | None = None,
    worst: float | None = None,
) -> None:
    """One step of both, from each of ``steps`` states: losses, updates and buffers agree.

    Args:
        one: goes on from state to state.
        other: is put into each of its states, in place, so that what was recorded stays good.
        steps: how many.
        loss: largest difference of the losses, relative.
        update: largest difference of what moved the query encoder, relative to its length.
        buffers: largest difference of statistics and queue, absolute and relative; whole numbers
            are equal.
        wide: the same in float32 where both are in bfloat16. Twice what ``other`` differs from it
            is allowed, and ``one`` is compared with it: how far bfloat16 goes wrong depends on the
            state, and a fused step rounds less often.
        worst: then ``loss`` and ``update`` hold for half of the states, and ``worst`` times as much
            for all: a state may multiply the last places of a product a thousand times.
    """
    off: list[float] = []  # of each state, the difference of the updates over what is allowed
    losses: list[float] = []  # the same of the losses
    compared = 0  # states in which bfloat16 leaves something of the update to compare
    others = [other] if wide is None else [other, wide]
    for _ in range(steps):
        with torch.no_grad():
            for ours, *copies in zip(
                *(each.state.changing_tensors() for each in (one, *others)), strict=True
            ):
                for theirs in copies:
                    theirs.copy_(ours)
        states = [generator.get_state() for generator in one.state.generators()]
        at = one.state.step
        our_loss, our_update = moved(one)
        results = []
        for each in others:
            each.state.step = at
            # afterwards: the default generators are the process's, so of all
            for generator, state in zip(each.state.generators(), states, strict=True):
                generator.set_state(state)
            results.append(moved(each))
        (their_loss, their_update), (reference_loss, reference_update) = results[0], results[-1]
        length = float(reference_update.norm())
        allowed = loss * reference_loss + 2 * abs(their_loss - reference_loss)
        losses.append(abs(our_loss - reference_loss) / allowed)
        allowed = update * length + 2 * float((their_update - reference_update).norm())
        off.append(float((our_update - reference_update).norm()) / allowed)
        compared += allowed < length
        for (name, ours), (_, theirs) in zip(
            one.state.model.named_buffers(), other.state.model.named_buffers(), strict=True
        ):
            if ours.is_floating_point():
                assert torch.allclose(ours, theirs, atol=buffers, rtol=buffers), name
            else:
                assert torch.equal(ours, theirs), name
    for name, values in (("losses", losses), ("updates", off)):
        values.sort()
        shown = f"{name}, over what is allowed: {[f'{value:.2g}' for value in values]}"
        assert values[-1] < (worst or 1.0), shown
        assert values[len(values) // 2] < 1.0, shown
    assert compared > 0.8 * steps
