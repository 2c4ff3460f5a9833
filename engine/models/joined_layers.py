"""A backbone made anew of its own layers, with others for what stands between two convolutions.

What replaces them decides how they are computed: ``fused_layers`` on a CPU, ``kernel_layers`` on a
card. Layers, parameters and buffers are those of the source, which stays as it is.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from engine.models.convnet import ConvNet, MaxPool2d
from engine.models.dropout import Dropout
from engine.models.split_batchnorm import SplitBatchNorm2d


class JoinedLayers(Protocol):
    """Makes what stands between two convolutions as one layer; asked in the order of use."""

    def norm(self, norm: SplitBatchNorm2d, *, relu: bool) -> nn.Module:
        """BatchNorm, plus a second input where there is one, ReLU where wanted."""

    def pooled(self, norm: SplitBatchNorm2d, dropout: Dropout) -> nn.Module:
        """BatchNorm, dropout, 2x2 max pooling and ReLU."""


def joined(source: nn.Module, make: JoinedLayers) -> nn.Sequential:
    """A net that computes what a backbone does, with the layers that are made.

    Args:
        source: a ``ConvNet`` or a ResNet of torchvision's blocks, with ``SplitBatchNorm2d``.
        make: makes the layers.
    """
    layers: list[nn.Module] = []
    if isinstance(source, ResNet):
        net: Any = source  # its layers have the types of torchvision's own
        layers += [net.conv1, _norm(make, net.bn1, relu=True), net.maxpool]
        for block in blocks_of(source):
            kind = _JoinedBasicBlock if isinstance(block, BasicBlock) else _JoinedBottleneck
            layers.append(kind(block, make))
        return nn.Sequential(*layers, net.avgpool, nn.Flatten(), net.fc)
    assert isinstance(source, ConvNet)
    children = list(source.children())
    while children:
        layer = children.pop(0)
        if isinstance(layer, SplitBatchNorm2d):
            dropout, pool, _relu = children[:3]
            assert isinstance(dropout, Dropout)
            assert isinstance(pool, MaxPool2d)
            layer, children = make.pooled(layer, dropout), children[3:]
        layers.append(layer)
    return nn.Sequential(*layers)


def blocks_of(source: ResNet) -> list[Any]:
    """The residual blocks of a ResNet, in the order of use."""
    net: Any = source
    return [block for n in range(1, 5) for block in getattr(net, f"layer{n}")]


class _JoinedBasicBlock(nn.Module):
    """A ``BasicBlock`` with such layers (He et al., arXiv:1512.03385, figure 5 left)."""

    def __init__(self, source: BasicBlock, make: JoinedLayers) -> None:
        super().__init__()
        self.conv1, self.conv2 = source.conv1, source.conv2
        self.norm1 = _norm(make, source.bn1, relu=True)
        self.norm2 = _norm(make, source.bn2, relu=True)
        self.shortcut = _shortcut(make, source)

    def forward(self, x: Tensor) -> Tensor:
        """As of the block that it is made from."""
        out = self.norm1(self.conv1(x))
        return self.norm2(self.conv2(out), self.shortcut(x))  # type: ignore[no-any-return]


class _JoinedBottleneck(nn.Module):
    """A ``Bottleneck`` with such layers (He et al., figure 5 right)."""

    def __init__(self, source: Bottleneck, make: JoinedLayers) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = source.conv1, source.conv2, source.conv3
        self.norm1 = _norm(make, source.bn1, relu=True)
        self.norm2 = _norm(make, source.bn2, relu=True)
        self.norm3 = _norm(make, source.bn3, relu=True)
        self.shortcut = _shortcut(make, source)

    def forward(self, x: Tensor) -> Tensor:
        """As of the block that it is made from."""
        out = self.norm1(self.conv1(x))
        out = self.norm2(self.conv2(out))
        return self.norm3(self.conv3(out), self.shortcut(x))  # type: ignore[no-any-return]


def _norm(make: JoinedLayers, norm: nn.Module, *, relu: bool) -> nn.Module:
    assert isinstance(norm, SplitBatchNorm2d)
    return make.norm(norm, relu=relu)


def _shortcut(make: JoinedLayers, source: BasicBlock | Bottleneck) -> nn.Module:
    if source.downsample is None:
        return nn.Identity()
    convolution, norm = source.downsample
    return nn.Sequential(convolution, _norm(make, norm, relu=False))
