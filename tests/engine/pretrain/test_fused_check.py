"""What a compiler may get wrong of a step is found before it trains; what is right is let pass.

No compiler is needed: the functions that are checked are the step's own, right or broken on
purpose.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.pretrain import pretraining, step_wrappers
from engine.pretrain.fused_check import Halves, _CheckedBatch, disagreement
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.runtime import compiled

from ...benchmarks.speed import fusion
from ..tiny import RUNTIME, Standin, config_with, plain_step
from ..trees import differences


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.fixture(autouse=True)
def as_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Steps on the CPU take the ways that they take on CUDA; one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with fusion.as_on_cuda(RUNTIME.device):
        monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
        yield
        monkeypatch.undo()
    torch.set_num_threads(threads)


KINDS: dict[str, dict[str, Any]] = {
    "float32": {"model__dropout": 0.0},
    "float32, dropout": {"model__dropout": 0.1},
    "bfloat16": {"model__dropout": 0.0},
    "bfloat16, dropout": {"model__dropout": 0.1},
}
kinds = pytest.mark.parametrize("kind", KINDS)
ENCODERS = [
    ("convnet", "float32"),
    ("convnet", "bfloat16"),
    ("convnet", "float32, dropout"),
    ("convnet", "bfloat16, dropout"),
    ("resnet18", "float32"),
    ("resnet18", "bfloat16"),
]


def step_of(kind: str, images: Tensor, **values: Any) -> PlainStep:
    runtime = dataclasses.replace(RUNTIME, bfloat16=kind.startswith("bfloat16"))
    given = {"optim__batch_size": 32, "model__dim": 16, "moco__queue_size": 100}
    config = config_with(**(given | KINDS[kind] | values))
    step = plain_step(Pretraining(config, images, runtime))
    assert isinstance(step, PlainStep)
    return step


def verdict(step: PlainStep, **broken: Any) -> str:
    written = Halves(step.augment, step.loss)
    state = step.state
    return disagreement(
        state, state.next_indices(), written=written, compiled=written._replace(**broken)
    )


@pytest.mark.parametrize(("encoder", "kind"), ENCODERS)
def test_the_step_agrees_with_itself(encoder: str, kind: str, images: Tensor) -> None:
    values = {"model__encoder": encoder, "optim__batch_size": 16 if encoder == "resnet18" else 32}
    assert verdict(step_of(kind, images, **values)) == ""


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_pass_in_float32_takes_no_more_memory_than_a_run_in_bfloat16(
    kind: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it saves for its backward lies on the host, and it tries no algorithms out."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    step = step_of(kind, images)
    passes: list[tuple[bool, bool]] = []
    packed: list[int] = []
    keep = torch.autograd.graph.save_on_cpu

    def counted() -> torch.autograd.graph.saved_tensors_hooks:
        hooks: Any = keep()

        def pack(tensor: Tensor) -> Any:
            packed.append(tensor.numel())
            return hooks.pack_hook(tensor)

        return torch.autograd.graph.saved_tensors_hooks(pack, hooks.unpack_hook)

    def watched(*arguments: Any) -> tuple[Tensor, Tensor]:
        narrow = torch.is_autocast_enabled("cpu")
        before = len(packed)
        found = step.loss(*arguments)
        assert (len(packed) > before) == (kind == "bfloat16" and not narrow)
        passes.append((narrow, torch.backends.cudnn.benchmark))
        return found

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", counted)
    written = Halves(step.augment, watched)
    state = step.state
    assert disagreement(state, state.next_indices(), written=written, compiled=written) == ""
    if kind == "bfloat16":
        assert sorted(passes) == [(False, False), *[(True, True)] * 3]
    else:
        assert passes == [(False, True)] * 4
    assert torch.backends.cudnn.benchmark


def test_numbers_that_lay_on_the_host_are_the_same(images: Tensor) -> None:
    step = step_of("float32", images)
    checked, state = _CheckedBatch(step.state), step.state
    views = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    order = state.model.key_order(views[:32], state.shuffle_generator)
    plain = checked.amounts(step.loss, views, order)
    assert differences(checked.amounts(step.loss, views, order, bfloat16=False), plain) == []


@kinds
def test_asking_leaves_everything_as_it_was(kind: str, images: Tensor) -> None:
    step = step_of(kind, images)
    before = copy.deepcopy(step.state.state_dict())
    verdict(step)
    assert differences(step.state.state_dict(), before) == []
    assert all(p.grad is None for p in step.state.model.parameters())


@kinds
def test_other_roundings_are_let_pass(kind: str, images: Tensor) -> None:
    """As kernels make them that add in another order: the last places of the views."""
    step = step_of(kind, images)

    def rounded(view_1: Tensor, view_2: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(view_1.shape, generator=generator) * 2.0**-23
        return step.state.model.loss_in_order(view_1 * (1 + noise), view_2 * (1 - noise), order)

    assert verdict(step, loss=rounded) == ""


def test_bfloat16_that_rounds_less_often_is_let_pass(images: Tensor) -> None:
    """A fused kernel keeps float32 between operations that would round one by one."""
    step = step_of("bfloat16", images)

    def wide(*arguments: Any) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", enabled=False):
            return step.state.model.loss_in_order(*arguments)

    assert verdict(step, loss=wide) == ""


Broken = Callable[[PlainStep], dict[str, Any]]


def encoder_with(change: Callable[[Tensor], Tensor]) -> Broken:
    """A loss whose query encoder's features are changed."""

    def broken(step: PlainStep) -> dict[str, Any]:
        backbone = step.state.model.encoder_q.backbone
        forward = backbone.forward

        def loss(*arguments: Any) -> tuple[Tensor, Tensor]:
            with patch.object(backbone, "forward", lambda x: change(forward(x))):
                return step.state.model.loss_in_order(*arguments)

        return {"loss": loss}

    return broken


def loss_changed(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Broken:
    return lambda step: {"loss": lambda *a: change(*step.state.model.loss_in_order(*a))}


def statistics_kept(step: PlainStep) -> dict[str, Any]:
    def loss(*arguments: Any) -> tuple[Tensor, Tensor]:
        with patch.object(SplitBatchNorm2d, "track", lambda *_: None):
            return step.state.model.loss_in_order(*arguments)

    return {"loss": loss}


FAULTS: dict[str, tuple[Broken, str]] = {
    "no graph of the trunk": (encoder_with(lambda x: x.detach()), "is zero"),
    "a gradient of exactly zero": (encoder_with(lambda x: x.detach() + 0.0 * x), "is zero"),
    "half the gradient of the trunk": (
        encoder_with(lambda x: 0.5 * x + 0.5 * x.detach()),
        "gradient of backbone",
    ),
    "the gradient's sign": (encoder_with(lambda x: 2.0 * x.detach() - x), "gradient of backbone"),
    "other features": (encoder_with(lambda x: x.roll(1, 0)), "its "),
    "a direction is missing": (loss_changed(lambda v, k: (v / 2, k)), "loss"),
    "no number": (loss_changed(lambda v, k: (v * torch.nan, k)), "loss"),
    "other keys": (loss_changed(lambda v, k: (v, k.roll(1, 0))), "keys"),
    "statistics": (statistics_kept, "statistic"),
    "views": (lambda step: {"augment": lambda *a: step._augment_as_written(*a) * 1.1}, "views"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["float32", "float32, dropout", "bfloat16"])
def test_what_is_wrong_is_found(kind: str, fault: str, images: Tensor) -> None:
    step = step_of(kind, images)
    broken, word = FAULTS[fault]
    assert word in verdict(step, **broken(step))


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@pytest.mark.parametrize("factor", [0.0, 0.9, 1.1])
def test_one_wrong_gradient_of_many_is_found(kind: str, factor: float, images: Tensor) -> None:
    step = step_of(kind, images)
    encoder = step.state.model.encoder_q
    weights = {name: p for name, p in encoder.named_parameters() if p.dim() > 1}
    assert len(weights) >= 3
    for name, weight in weights.items():

        def loss(*arguments: Any, weight: Tensor = weight) -> tuple[Tensor, Tensor]:
            value, keys = step.state.model.loss_in_order(*arguments)
            (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
            wrong = (factor - 1.0) * (weight * gradient).sum()  # its gradient is added
            return value + wrong - wrong.detach(), keys

        found = verdict(step, loss=loss)
        if kind == "bfloat16" and factor:
            assert found == "" or f"gradient of {name}" in found  # within bfloat16's own roundings
        else:
            assert f"gradient of {name}" in found


def test_a_fault_ends_in_the_plain_step_and_a_sentence(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way through ``FusedStep``: nothing is replaced, and the reason is for people."""
    from engine.models.moco import MoCo

    def compile_wrongly(function: Any) -> Any:
        if getattr(function, "__func__", None) is not MoCo.loss_in_order:
            return function
        return lambda *arguments: (lambda found: (found[0].detach() + 0.0 * found[0], found[1]))(
            function(*arguments)
        )

    monkeypatch.setattr(step_wrappers, "compile_on_call", compile_wrongly)
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    config = config_with(runtime__capture="fused", optim__batch_size=32)
    training = Pretraining(config, images, RUNTIME)
    [notice] = training.prepare()
    assert "does not compute the step" in notice
    assert "is zero" in notice
    assert training.compute_step.kind == "captured"
    plain = Pretraining(config_with(optim__batch_size=32), images, RUNTIME)
    plain.prepare()
    for _ in range(2):
        torch.manual_seed(3)
        ours = float(training.advance())
        torch.manual_seed(3)
        assert ours == float(plain.advance())
