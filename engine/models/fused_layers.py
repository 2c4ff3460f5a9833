"""An encoder whose layers between two convolutions are one operation each way (``engine.native``).

In training for one BatchNorm group at a time: the whole input of a layer is its group.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from engine.models.convnet import ConvNet, MaxPool2d
from engine.models.dropout import Dropout, keep_share
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.block import (
    DTYPES,
    KEEP_ALL,
    block,
    pooled_block,
    running_block,
    running_pooled_block,
)

__all__ = ["can_fuse", "fuse"]


class FusedNorm(nn.Module):
    """BatchNorm of one group, plus another tensor where there is one, then ReLU where wanted.

    In eval mode of ``norm`` with its running statistics, and without a gradient.

    Args:
        norm: whose parameters, buffers, momentum and mode are used.
        relu: whether ReLU comes last.
        level: of the kernels.
    """

    def __init__(self, norm: SplitBatchNorm2d, *, relu: bool, level: str) -> None:
        super().__init__()
        self.norm = norm
        self.relu = relu
        self.level = level

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """``(N, C, H, W)`` to the same."""
        norm = self.norm
        options: Any = {"relu": self.relu, "eps": norm.eps, "level": self.level}
        if not norm.training:
            _check_no_gradient()
            return running_block(x, *_values(norm), residual, **options)
        out, mean, variance = block(x, norm.weight, norm.bias, residual, **options)
        _track(norm, mean, variance)
        return out


class FusedPooledNorm(nn.Module):
    """BatchNorm of one group, dropout, 2x2 max pooling and ReLU.

    Args:
        norm: as in ``FusedNorm``.
        dropout: whose probability, generator and mode are used.
        level: of the kernels.
    """

    def __init__(self, norm: SplitBatchNorm2d, dropout: Dropout, *, level: str) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = dropout
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H // 2, W // 2)``."""
        norm, keep, seed = self.norm, KEEP_ALL, 0
        if not norm.training:
            _check_no_gradient()
            return running_pooled_block(x, *_values(norm), eps=norm.eps, level=self.level)
        if self.dropout.training and self.dropout.p > 0.0:
            keep = keep_share(self.dropout.p)[1]
            # Of 64 bits, since a seed that comes again drops the same units again.
            drawn = torch.empty((), dtype=torch.int64)
            seed = int(drawn.random_(0, None, generator=self.dropout.generator))
        out, mean, variance = pooled_block(
            x, norm.weight, norm.bias, eps=norm.eps, keep=keep, seed=seed, level=self.level
        )
        _track(norm, mean, variance)
        return out


def _values(norm: SplitBatchNorm2d) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


def _check_no_gradient() -> None:
    if torch.is_grad_enabled():  # it would be silently zero
        raise RuntimeError("Fused layers in eval mode have no gradient; use torch.no_grad().")


@torch.no_grad()
def _track(norm: SplitBatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics by those of a group, ``(C,)`` each."""
    if norm.momentum == 1.0:  # copied: of infinite ones, a weighted sum would keep a NaN
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.num_batches_tracked.add_(1)
    else:
        norm.track(mean.view(1, 1, -1), variance.view(1, 1, -1))


class _FusedBasicBlock(nn.Module):
    """A ``BasicBlock`` with fused layers (He et al., arXiv:1512.03385, figure 5 left)."""

    def __init__(self, source: BasicBlock, level: str) -> None:
        super().__init__()
        self.conv1, self.conv2 = source.conv1, source.conv2
        self.norm1 = _fused(source.bn1, relu=True, level=level)
        self.norm2 = _fused(source.bn2, relu=True, level=level)
        self.shortcut = _shortcut(source, level)

    def forward(self, x: Tensor) -> Tensor:
        """As of the block that it is made from."""
        out = self.norm1(self.conv1(x))
        return self.norm2(self.conv2(out), self.shortcut(x))  # type: ignore[no-any-return]


class _FusedBottleneck(nn.Module):
    """A ``Bottleneck`` with fused layers (He et al., figure 5 right)."""

    def __init__(self, source: Bottleneck, level: str) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = source.conv1, source.conv2, source.conv3
        self.norm1 = _fused(source.bn1, relu=True, level=level)
        self.norm2 = _fused(source.bn2, relu=True, level=level)
        self.norm3 = _fused(source.bn3, relu=True, level=level)
        self.shortcut = _shortcut(source, level)

    def forward(self, x: Tensor) -> Tensor:
        """As of the block that it is made from."""
        out = self.norm1(self.conv1(x))
        out = self.norm2(self.conv2(out))
        return self.norm3(self.conv3(out), self.shortcut(x))  # type: ignore[no-any-return]


def can_fuse(backbone: nn.Module, dtype: torch.dtype) -> bool:
    """Whether ``fuse`` knows the backbone, and the kernels its values.

    Args:
        backbone: of an encoder.
        dtype: of its convolutions.
    """
    if dtype not in DTYPES or not isinstance(backbone, ConvNet | ResNet):
        return False
    # A share that needs 16 random bits a unit; the kernels draw 8.
    shares = [part.p for part in backbone.modules() if isinstance(part, Dropout) and part.p > 0.0]
    return all(keep_share(p)[0] == 8 for p in shares)


def fuse(backbone: nn.Module, level: str) -> nn.Module:
    """A net that computes what a backbone does with fused layers, up to rounding.

    Dropout draws other units. Both share parameters, buffers, layers and modes; the backbone stays
    as it is.

    Args:
        backbone: a ``ConvNet`` or a ResNet of torchvision's blocks with ``SplitBatchNorm2d``, for
            which ``can_fuse`` holds.
        level: of the kernels.
    """
    layers: list[nn.Module] = []
    if isinstance(backbone, ResNet):
        net: Any = backbone  # its layers have the types of torchvision's own
        layers += [net.conv1, _fused(net.bn1, relu=True, level=level), net.maxpool]
        for part in (*net.layer1, *net.layer2, *net.layer3, *net.layer4):
            make = _FusedBasicBlock if isinstance(part, BasicBlock) else _FusedBottleneck
            layers.append(make(part, level))
        return nn.Sequential(*layers, net.avgpool, nn.Flatten(), net.fc)
    parts = list(backbone.children())
    while parts:
        layer = parts.pop(0)
        if isinstance(layer, SplitBatchNorm2d):
            dropout, pool, _relu = parts[:3]
            assert isinstance(dropout, Dropout)
            assert isinstance(pool, MaxPool2d)
            layer, parts = FusedPooledNorm(layer, dropout, level=level), parts[3:]
        layers.append(layer)
    return nn.Sequential(*layers)


def _fused(norm: nn.Module, *, relu: bool, level: str) -> FusedNorm:
    assert isinstance(norm, SplitBatchNorm2d)
    return FusedNorm(norm, relu=relu, level=level)


def _shortcut(source: BasicBlock | Bottleneck, level: str) -> nn.Module:
    if source.downsample is None:
        return nn.Identity()
    convolution, norm = source.downsample
    return nn.Sequential(convolution, _fused(norm, relu=False, level=level))
