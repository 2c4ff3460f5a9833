"""The encoders against plain torch and torchvision, and those of the user's own."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from engine.config import own_code
from engine.config.models import ENCODERS
from engine.config.resolve import resolve
from engine.config.schema import ModelConfig, PretrainConfig
from engine.errors import ConfigError
from engine.models.encoder import build_encoder

from ..gradients import grad


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
    net: nn.Module = torchvision.models.resnet18(num_classes=dim)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_encoder_is_the_plain_net_in_training_and_eval(
    name: str, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    config = ModelConfig(encoder=name, dim=16, dropout=0.0, bn_splits=1)
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
            scale = float(grad(q).abs().max())
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4 * scale)
    for one, other in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_a_seed_gives_the_same_encoder(name: str) -> None:
    config = ModelConfig(encoder=name)
    torch.manual_seed(7)
    first = values(build_encoder(config))
    torch.manual_seed(7)
    second = values(build_encoder(config))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_bfloat16_trunk_has_a_float32_head_and_comes_close(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(ModelConfig(encoder=name, dropout=0.0))
    x = torch.randn(16, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    exact = copy.deepcopy(encoder)(x)
    with torch.autocast("cpu", torch.bfloat16):
        features = copy.deepcopy(encoder).backbone(x)
        close = encoder(x)
    assert features.dtype == torch.bfloat16
    assert close.dtype == torch.float32
    cosine = nn.functional.cosine_similarity(close, exact)
    assert float(cosine.min()) > 0.99


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_registered_encoder_makes_features_of_the_width_it_says(name: str) -> None:
    encoder = build_encoder(ModelConfig(encoder=name, dim=8)).eval()
    assert encoder.backbone(torch.randn(2, 3, 32, 32)).shape == (2, encoder.feature_dim)


# ------------------------------------------------------------------ something of the user's own

OWN = """
import torch
from torch import nn


class Tiny(nn.Sequential):
    def __init__(self, config):
        super().__init__(nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


def no_module(config):
    return 7


def no_features(config):
    return nn.Conv2d(3, 4, 3)


def no_parameters(config):
    return nn.Flatten()


def other_size(config):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))


def breaks(config):
    raise RuntimeError("not today")
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_code, "_named", set())
    return name


def test_an_encoder_of_ones_own_is_named_by_its_path_and_tried_once(own_module: str) -> None:
    config = resolve(PretrainConfig, sets=[f"model.encoder={own_module}:Tiny", "dim=8"])
    torch.manual_seed(0)
    encoder = build_encoder(config.model)
    assert encoder.feature_dim == 4 * 8 * 8
    assert encoder.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 8)
    torch.manual_seed(0)
    plain = sys.modules[own_module].Tiny(config.model)
    # the trial left weights, statistics and the generator alone
    for ours, theirs in zip(values(encoder.backbone), values(plain), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_module", "which gave a int"),
        ("no_features", "which makes (2, 4, 30, 30) of two images"),
        ("no_parameters", "which has no parameters to train"),
        ("other_size", "which cannot take such images"),
        ("breaks", "which failed (RuntimeError: not today)"),
        ("missing", "has no missing"),
    ],
)
def test_what_is_no_encoder_gets_one_sentence(own_module: str, name: str, said: str) -> None:
    config = resolve(PretrainConfig, sets=[f"model.encoder={own_module}:{name}"])
    with pytest.raises(ConfigError) as caught:
        build_encoder(config.model)
    assert said in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_a_path_that_nobody_named_is_not_imported(own_module: str) -> None:
    with pytest.raises(ConfigError, match=f"--allow-code {own_module}:Tiny"):
        build_encoder(ModelConfig(encoder=f"{own_module}:Tiny"))
    assert own_module not in sys.modules
