"""torchvision's ResNets with the CIFAR stem."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import nn

from engine.config.schema import ModelConfig
from engine.models.encoder import build_encoder


def test_resnet_convolutions_start_with_kaiming_s_spread() -> None:
    torch.manual_seed(0)
    for name, module in build_encoder(ModelConfig(encoder="resnet18")).named_modules():
        if isinstance(module, nn.Conv2d):
            fan = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            spread = float(module.weight.detach().std()) / math.sqrt(2.0 / fan)
            assert abs(spread - 1.0) < 5 / math.sqrt(2 * module.weight.numel()), name


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_the_layers_have_torchvisions_names_and_load_there(name: str) -> None:
    backbone = build_encoder(ModelConfig(encoder=name)).backbone
    theirs = getattr(torchvision.models, name)()
    theirs.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    theirs.maxpool, theirs.fc = nn.Identity(), nn.Identity()
    missing, unexpected = theirs.load_state_dict(backbone.state_dict(), strict=False)
    # torch's BatchNorm counts its batches, which nothing of ours reads
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert not unexpected
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(backbone.eval()(x), theirs.eval()(x), rtol=0, atol=0)
