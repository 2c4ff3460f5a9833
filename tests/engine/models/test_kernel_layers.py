"""An encoder with kernels between its convolutions is the encoder that it is made from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from engine.config.moco_schema import MocoConfig
from engine.config.resolve import build
from engine.config.schema import ModelConfig
from engine.models.convnet import ConvNet
from engine.models.encoder import build_encoder
from engine.models.kernel_layers import (
    KernelNorm,
    KernelPooledNorm,
    can_take_kernels,
    with_kernels,
)
from engine.models.moco import MoCo
from engine.models.split_batchnorm import SplitBatchNorm2d


def model_with(encoder: str, *, symmetric: bool = True, size: int = 32, **values: Any) -> MoCo:
    torch.manual_seed(1)
    given = {"encoder": encoder, "dim": 8, "bn_splits": 2, "dropout": 0.0} | values
    moco = build(MocoConfig, {"queue_size": 20, "symmetric": symmetric})
    return MoCo(build(ModelConfig, given), moco, size).to(memory_format=torch.channels_last)


def views(count: int, size: int = 32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    pair = torch.randn(2, count, 3, size, size)
    one, other = (view.contiguous(memory_format=torch.channels_last) for view in pair)
    return one, other


def everything(model: MoCo, size: int, kernels: bool) -> dict[str, Tensor]:
    """Loss, keys, gradients and buffers of one step."""
    computing = with_kernels(model) if kernels else model
    loss, keys = computing.loss(*views(8, size), torch.Generator().manual_seed(3))
    loss.backward()
    found = {"loss": loss.detach(), "keys": keys}
    for name, parameter in model.encoder_q.named_parameters():
        assert parameter.grad is not None
        found[f"gradient of {name}"] = parameter.grad
    return found | dict(model.named_buffers())


@pytest.mark.parametrize(
    ("encoder", "symmetric", "size"),
    [
        *(("convnet", True, 32), ("convnet", False, 32), ("convnet", True, 48)),
        *(("resnet18", True, 8), ("resnet50", False, 8)),
    ],
)
def test_a_step_is_that_of_the_encoder(encoder: str, symmetric: bool, size: int) -> None:
    """In float64, so that what differs is more than roundings."""
    torch.set_default_dtype(torch.float64)
    try:
        side = 2 if size > 32 else 0
        model = model_with(encoder, symmetric=symmetric, size=size, feature_side=side).double()
        plain, ours = (everything(copy.deepcopy(model), size, kernels) for kernels in (False, True))
    finally:
        torch.set_default_dtype(torch.float32)
    assert plain.keys() == ours.keys()
    for name, values in plain.items():
        torch.testing.assert_close(ours[name], values, rtol=1e-6, atol=1e-8, msg=name)


def test_a_backward_pass_makes_no_zeros_for_what_has_no_gradient() -> None:
    """Of the outputs that only a backward pass reads: each would take a launch on a card."""
    twin = with_kernels(model_with("convnet"))
    made: list[str] = []

    class Noting(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            made.append(str(func))
            return func(*args, **(kwargs or {}))

    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = twin.loss(*views(8))
    with Noting():
        loss.backward()
    taken = {"moco.pooled_backward.default", "moco.stem_backward.default"}
    assert taken <= set(made)
    # The pooling of a CPU's own backward pass makes none, either.
    assert [name for name in made if "aten.zeros" in name or "new_zeros" in name] == []


def test_nothing_is_added_to_the_model_or_taken_from_it() -> None:
    model = model_with("resnet18")
    before = {name: values.data_ptr() for name, values in model.state_dict().items()}
    twin = with_kernels(model)
    assert {name: values.data_ptr() for name, values in model.state_dict().items()} == before
    ours = {p.data_ptr() for p in twin.parameters()} | {b.data_ptr() for b in twin.buffers()}
    assert ours == set(before.values())
    assert not any(isinstance(part, KernelNorm) for part in model.modules())
    model.queue.zero_()
    assert float(twin.queue.abs().sum()) == 0.0


def test_the_key_encoder_drops_nothing_and_keeps_no_graph() -> None:
    model = with_kernels(model_with("convnet", dropout=0.5))
    ways = [part for part in model.encoder_k.modules() if isinstance(part, KernelPooledNorm)]
    assert [way.dropout.p for way in ways] == [0.0] * 3
    images, _ = views(8)
    assert torch.equal(model.encoder_k(images), model.encoder_k(images))
    assert not torch.equal(model.encoder_q(images), model.encoder_q(images))


def test_the_generator_determines_what_is_dropped() -> None:
    model = with_kernels(model_with("convnet", dropout=0.5))
    images, _ = views(8)
    found = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        found.append(model.encoder_q(images).detach())
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize("relu", [True, False])
def test_values_in_another_format_are_taken(relu: bool) -> None:
    norm = SplitBatchNorm2d(6, 2)
    layer = KernelNorm(norm, relu=relu)
    x, residual = torch.randn(2, 4, 6, 5, 3)
    expected = copy.deepcopy(norm)(x) + residual
    torch.testing.assert_close(layer(x, residual), expected.relu() if relu else expected)


def test_a_batch_that_groups_do_not_divide_is_refused_as_by_the_layer() -> None:
    layer = KernelNorm(SplitBatchNorm2d(4, 3), relu=True)
    with pytest.raises(ValueError, match="cannot be split into 3 BatchNorm groups"):
        layer(torch.randn(4, 4, 2, 2))
    with pytest.raises(ValueError, match="has no variance"):
        layer(torch.randn(3, 4, 1, 1))


def test_the_compiler_sees_through_the_layers() -> None:
    """One graph without a break, and the same gradients."""
    model = with_kernels(model_with("convnet"))
    images, _ = views(8)
    parameters = list(model.encoder_q.parameters())
    try:
        compiled = torch.compile(model.encoder_q, backend="aot_eager", fullgraph=True)
        ours = torch.autograd.grad((compiled(images) ** 2).sum(), parameters)
        expected = torch.autograd.grad((model.encoder_q(images) ** 2).sum(), parameters)
    finally:
        torch.compiler.reset()
    for one, other in zip(ours, expected, strict=True):
        assert float(other.norm()) > 0.0
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_which_encoders_can_take_kernels() -> None:
    class Own(ConvNet):
        """May compute otherwise."""

    for encoder in ("convnet", "resnet18", "resnet50"):
        config = build(ModelConfig, {"encoder": encoder, "dim": 8})
        assert can_take_kernels(build_encoder(config).backbone)
    assert not can_take_kernels(Own(0.1, 2))
    assert not can_take_kernels(torchvision.models.resnet18())  # BatchNorm over the whole batch
    assert not can_take_kernels(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
