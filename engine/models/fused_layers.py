"""An encoder whose layers between two convolutions are one operation each way (``engine.native``).

In training for one BatchNorm group at a time: the whole input of a layer is its group, or a part of
it that another thread has the rest of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from engine.models.convnet import ConvNet
from engine.models.dropout import Dropout, keep_share
from engine.models.joined_layers import joined
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.block import (
    DTYPES,
    KEEP_ALL,
    block,
    pooled_block,
    running_block,
    running_pooled_block,
)
from engine.native.parted_block import parted_block, parted_pooled_block
from engine.native.parts import Parts, Seat

__all__ = ["can_fuse", "fuse"]


class FusedNorm(nn.Module):
    """BatchNorm of one group, plus another tensor where there is one, then ReLU where wanted.

    In eval mode of ``norm`` with its running statistics, and without a gradient.

    Args:
        norm: whose parameters, buffers, momentum and mode are used.
        relu: whether ReLU comes last.
        level: of the kernels.
        seat: of the part of a batch; None: the input is the whole.
    """

    def __init__(
        self, norm: SplitBatchNorm2d, *, relu: bool, level: str, seat: Seat | None = None
    ) -> None:
        super().__init__()
        self.norm = norm
        self.relu = relu
        self.level = level
        self.seat = seat

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """``(N, C, H, W)`` to the same."""
        norm = self.norm
        options: Any = {"relu": self.relu, "eps": norm.eps, "level": self.level}
        if not norm.training:
            _check_no_gradient()
            return running_block(x, *_values(norm), residual, **options)
        if self.seat is None:
            out, mean, variance = block(x, norm.weight, norm.bias, residual, **options)
        else:
            out, mean, variance = parted_block(
                x, norm.weight, norm.bias, residual, seat=self.seat, **options
            )
        _track(norm, mean, variance, self.seat)
        return out


class FusedPooledNorm(nn.Module):
    """BatchNorm of one group, dropout, 2x2 max pooling and ReLU.

    Args:
        norm: as in ``FusedNorm``.
        dropout: whose probability, generator and mode are used.
        level: of the kernels.
        seat: as in ``FusedNorm``; with one, the seed of dropout is that of its place.
    """

    def __init__(
        self, norm: SplitBatchNorm2d, dropout: Dropout, *, level: str, seat: Seat | None = None
    ) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = dropout
        self.level = level
        self.seat = seat

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H // 2, W // 2)``."""
        norm, keep, seed = self.norm, KEEP_ALL, 0
        if not norm.training:
            _check_no_gradient()
            return running_pooled_block(x, *_values(norm), eps=norm.eps, level=self.level)
        if self.dropout.training and self.dropout.p > 0.0:
            keep, seed = keep_share(self.dropout.p)[1], self._seed()
        options: Any = {"eps": norm.eps, "keep": keep, "seed": seed, "level": self.level}
        if self.seat is None:
            out, mean, variance = pooled_block(x, norm.weight, norm.bias, **options)
        else:
            out, mean, variance = parted_pooled_block(
                x, norm.weight, norm.bias, seat=self.seat, **options
            )
        _track(norm, mean, variance, self.seat)
        return out

    def _seed(self) -> int:
        if self.seat is not None:
            return self.seat.parts.seeds[self.seat.place]
        # Of 64 bits, since a seed that comes again drops the same units again.
        drawn = torch.empty((), dtype=torch.int64)
        return int(drawn.random_(0, None, generator=self.dropout.generator))


def _values(norm: SplitBatchNorm2d) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


def _check_no_gradient() -> None:
    if torch.is_grad_enabled():  # it would be silently zero
        raise RuntimeError("Fused layers in eval mode have no gradient; use torch.no_grad().")


@torch.no_grad()
def _track(norm: SplitBatchNorm2d, mean: Tensor, variance: Tensor, seat: Seat | None) -> None:
    """Move the running statistics by those of a group, ``(C,)`` each; of all parts by the first."""
    if seat is not None and seat.number > 0:
        return
    if norm.momentum == 1.0:  # copied: of infinite ones, a weighted sum would keep a NaN
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.num_batches_tracked.add_(1)
    else:
        norm.track(mean.view(1, 1, -1), variance.view(1, 1, -1))


class _FusedLayers:
    """Makes the fused layers of a net, which take their places in the order of making.

    Args:
        level: of the kernels.
        parts: of the batch; None: it has no parts.
        number: of the part that the net is for.
    """

    def __init__(self, level: str, parts: Parts | None, number: int) -> None:
        self.level, self.parts, self.number = level, parts, number
        self._place = 0

    def norm(self, norm: SplitBatchNorm2d, *, relu: bool) -> FusedNorm:
        return FusedNorm(norm, relu=relu, level=self.level, seat=self._seat())

    def pooled(self, norm: SplitBatchNorm2d, dropout: Dropout) -> FusedPooledNorm:
        return FusedPooledNorm(norm, dropout, level=self.level, seat=self._seat())

    def _seat(self) -> Seat | None:
        if self.parts is None:
            return None
        seat = Seat(self.parts, self.number, self._place)
        self._place += 1
        self.parts.places = max(self.parts.places, self._place)
        return seat


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


def fuse(
    backbone: nn.Module, level: str, *, parts: Parts | None = None, number: int = 0
) -> nn.Module:
    """A net that computes what a backbone does with fused layers, up to rounding.

    Dropout draws other units. Both share parameters, buffers, layers and modes; the backbone stays
    as it is.

    Args:
        backbone: a ``ConvNet`` or a ResNet of torchvision's blocks with ``SplitBatchNorm2d``, for
            which ``can_fuse`` holds.
        level: of the kernels.
        parts: of the batch that several such nets share, each on a thread of its own; None: the
            net has its batch for itself.
        number: of the part that this net takes.
    """
    return joined(backbone, _FusedLayers(level, parts, number))
