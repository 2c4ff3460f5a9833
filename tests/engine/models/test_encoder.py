"""The encoders against plain torch and torchvision, and the printed summary."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn

from engine.config.schema import ModelConfig
from engine.models.encoder import Encoder, MaxPool2d, build_encoder, format_summary, summary


def values(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


def take_over(target: nn.Module, source: nn.Module) -> None:
    """Copy parameters and buffers in their order, which is that of the layers."""
    with torch.no_grad():
        for ours, theirs in zip(values(target), values(source), strict=True):
            ours.copy_(theirs.view(ours.shape))


def notebook_convnet(dim: int) -> nn.Sequential:
    """The net as the notebook wrote it: ReLU, then dropout, then pooling."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(inputs, outputs, 3, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Dropout(0.0),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, dim))


def cifar_resnet18(dim: int) -> nn.Module:
    """The ResNet-18 of torchvision with the 3x3 stem and without max pooling."""
    net = torchvision.models.resnet18(num_classes=dim)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_encoder_is_the_plain_net_in_training_and_eval(
    name: str, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(encoder=name, dim=16, dropout=0.0, bn_splits=1)  # type: ignore[arg-type]
    ours = build_encoder(config)
    plain = notebook_convnet(16) if name == "convnet" else cifar_resnet18(16)
    take_over(plain, ours)
    x = torch.randn(4, 3, 32, 32).contiguous(memory_format=layout)
    for mode in (True, True, False):
        ours.train(mode)
        plain.train(mode)
        ours.zero_grad()
        plain.zero_grad()
        a, b = ours(x), plain(x)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        push = torch.randn(a.shape)
        a.backward(push)
        b.backward(push)
        for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
            scale = float(q.grad.abs().max())
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4 * scale)
    for p, q in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_relu_after_dropout_and_pooling_is_relu_before_them() -> None:
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    mask = (torch.rand(x.shape) > 0.3).double() / 0.7
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    first = nn.functional.max_pool2d(a.relu() * mask, 2)
    last = nn.functional.max_pool2d(b * mask, 2).relu()
    assert torch.equal(first, last)
    push = torch.randn(first.shape, dtype=torch.float64)
    first.backward(push)
    last.backward(push)
    assert torch.equal(a.grad, b.grad)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        # 9 weights a pair of channels, 2 values a BatchNorm channel, the projection with its bias.
        (ModelConfig(), 9 * (3 * 32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 512 * 512 + 512),
        (ModelConfig(dim=128), 93_472 + 512 * 128 + 128),
        (ModelConfig(mlp_head=True, dim=128), 93_472 + 512 * 512 + 512 + 512 * 128 + 128),
        # The widely quoted 11,173,962 of the ten-class net, with another last layer.
        (ModelConfig(encoder="resnet18", dim=128), 11_173_962 - 5_130 + 512 * 128 + 128),
    ],
)
def test_parameter_counts(config: ModelConfig, count: int) -> None:
    encoder = build_encoder(config)
    assert sum(p.numel() for p in encoder.parameters()) == count
    assert encoder.feature_dim == 512
    assert encoder.dim == config.dim
    encoder.eval()
    x = torch.randn(2, 3, 32, 32)
    assert encoder.backbone(x).shape == (2, 512)
    assert encoder(x).shape == (2, config.dim)
    assert torch.equal(encoder(x), encoder.projection_head(encoder.backbone(x)))


def test_the_notebook_s_encoder_has_356128_parameters() -> None:
    assert sum(p.numel() for p in build_encoder(ModelConfig()).parameters()) == 356_128


def test_resnet_convolutions_start_with_kaiming_s_spread() -> None:
    torch.manual_seed(0)
    for name, module in build_encoder(ModelConfig(encoder="resnet18")).named_modules():
        if isinstance(module, nn.Conv2d):
            fan = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            spread = float(module.weight.detach().std()) / math.sqrt(2.0 / fan)
            assert abs(spread - 1.0) < 5 / math.sqrt(2 * module.weight.numel()), name


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_a_seed_gives_the_same_encoder(name: str) -> None:
    config = ModelConfig(encoder=name)  # type: ignore[arg-type]
    torch.manual_seed(7)
    first = values(build_encoder(config))
    torch.manual_seed(7)
    second = values(build_encoder(config))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_bfloat16_trunk_has_a_float32_head_and_comes_close(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(encoder=name, dropout=0.0))  # type: ignore[arg-type]
    x = torch.randn(16, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    exact = copy.deepcopy(encoder)(x)
    with torch.autocast("cpu", torch.bfloat16):
        features = copy.deepcopy(encoder).backbone(x)
        close = encoder(x)
    assert features.dtype == torch.bfloat16
    assert close.dtype == torch.float32
    cosine = nn.functional.cosine_similarity(close, exact)
    assert float(cosine.min()) > 0.99


def test_summary_lists_the_notebook_s_layers_and_leaves_everything_as_it_was() -> None:
    encoder = build_encoder(ModelConfig())
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    random_state = torch.get_rng_state()
    rows = summary(encoder)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module._forward_hooks for module in encoder.modules())
    assert [(row.shape, row.parameters) for row in rows if row.parameters] == [
        ((32, 30, 30), 864),
        ((32, 30, 30), 64),
        ((64, 13, 13), 18_432),
        ((64, 13, 13), 128),
        ((128, 4, 4), 73_728),
        ((128, 4, 4), 256),
        ((512,), 262_656),
        ((512,), 356_128),
    ]
    assert [row.kind for row in rows[:5]] == [
        "Conv2d",
        "SplitBatchNorm2d",
        "Dropout",
        "MaxPool2d",
        "ReLU",
    ]
    assert [row.shape for row in rows if row.kind == "MaxPool2d"] == [
        (32, 15, 15),
        (64, 6, 6),
        (128, 2, 2),
    ]


@pytest.mark.parametrize("config", [ModelConfig(mlp_head=True), ModelConfig(encoder="resnet18")])
def test_the_total_of_the_summary_is_the_sum_of_its_rows(config: ModelConfig) -> None:
    *rows, total = summary(build_encoder(config))
    assert total.name == "total"
    assert total.parameters == sum(row.parameters for row in rows)


def test_the_summary_as_text_is_a_straight_table() -> None:
    lines = format_summary(summary(build_encoder(ModelConfig()))).splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters"]
    assert lines[-1].split() == ["total", "Encoder", "512", "356,128"]
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["backbone.0", "Conv2d", "32x30x30", "864"] for line in lines)


def test_any_module_can_be_summarised() -> None:
    make = partial(nn.Conv2d, 3, 4, 3)
    encoder = Encoder(nn.Sequential(make(), nn.Flatten()), nn.Linear(4 * 6 * 6, 5), 144, 5)
    rows = summary(encoder, (3, 8, 8))
    assert [row.shape for row in rows] == [(4, 6, 6), (144,), (5,), (5,)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [30, 13, 4])
def test_pooling_without_a_gradient_is_torchs_own_bit_by_bit(
    layout: torch.memory_format, dtype: torch.dtype, side: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, side, side, generator=generator)
    x[x.abs() < 0.3] = 0.0  # what dropout leaves: ties
    x[0, 0, 1, 1] = torch.nan
    x = x.to(dtype).contiguous(memory_format=layout)
    theirs = nn.MaxPool2d(2)(x)
    ours = MaxPool2d()(x)
    assert ours.stride() == theirs.stride()
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.nan_to_num(9.0), theirs.nan_to_num(9.0))
    learned = x.clone().requires_grad_()
    MaxPool2d()(learned).nan_to_num(0.0).sum().backward()
    reference = x.clone().requires_grad_()
    nn.MaxPool2d(2)(reference).nan_to_num(0.0).sum().backward()
    assert learned.grad is not None
    assert reference.grad is not None
    assert torch.equal(learned.grad, reference.grad)
