"""torchvision's ResNets (He et al., arXiv:1512.03385), with a stem for small images or theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn

from engine.config.data.data_set import SIZE
from engine.config.schema import ModelConfig
from engine.models.split_batchnorm import SplitBatchNorm2d


def resnet18(config: ModelConfig, _size: int = SIZE) -> nn.Module:
    """ResNet-18, ``(N, 3, H, W)`` to ``(N, 512)``; see ``resnet``."""
    return resnet(torchvision.models.resnet18, config)


def resnet34(config: ModelConfig, _size: int = SIZE) -> nn.Module:
    """ResNet-34, ``(N, 3, H, W)`` to ``(N, 512)``; see ``resnet``."""
    return resnet(torchvision.models.resnet34, config)


def resnet50(config: ModelConfig, _size: int = SIZE) -> nn.Module:
    """ResNet-50, ``(N, 3, H, W)`` to ``(N, 2048)``; see ``resnet``."""
    return resnet(torchvision.models.resnet50, config)


def resnet(make: Callable[..., Any], config: ModelConfig) -> nn.Module:
    """A ResNet without a classifier, with the stem that the configuration names.

    That for CIFAR is a 3x3 convolution of stride 1 without max pooling; that for ImageNet is
    torchvision's own. The layers have torchvision's names, so that its weights load there and
    theirs load here.

    Args:
        make: torchvision's function for the net.
        config: names the stem, and the groups of a batch that BatchNorm normalises apart.

    Returns:
        The net, initialised from torch's default generator, with the width of its features as
        ``feature_dim``.
    """
    # torchvision draws weights for a stem and a classifier that are replaced: not from our stream.
    with torch.random.fork_rng(devices=[]):
        net = make(norm_layer=partial(SplitBatchNorm2d, num_splits=config.bn_splits))
    net.feature_dim = net.fc.in_features
    if config.stem == "cifar":
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
    else:
        net.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    net.fc = nn.Identity()
    # Kaiming's normal weights (arXiv:1502.01852, eq. 10). A seed gives the weights that it gave in
    # version 0.1, which built the layers one by one: each convolution drew torch's default weights
    # when it was made (the stem has just done so), and then all of them drew anew.
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[1:]:
        convolution.reset_parameters()
    for convolution in convolutions:
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    made: nn.Module = net
    return made
