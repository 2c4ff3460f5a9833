"""An encoder whose layers between two convolutions are kernels for a card (``engine.kernels``).

The layers hold the convolutions, BatchNorms and heads of the encoder that they are made from, and
nothing of their own: its parameters, buffers and names stay, and both compute from the same.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from engine.kernels.group_block import (
    group_statistics,
    norm_apply,
    pooled_apply,
)
from engine.kernels.stem_block import stem, stem_statistics
from engine.models.convnet import ConvNet
from engine.models.dropout import Dropout
from engine.models.encoder import Encoder
from engine.models.joined_layers import blocks_of, joined
from engine.models.kernel_moco import KernelMoCo
from engine.models.moco import MoCo
from engine.models.split_batchnorm import SplitBatchNorm2d


class _Statistics(nn.Module):
    """What both layers begin with.

    Args:
        norm: whose parameters and buffers are used; its running statistics move.
    """

    def __init__(self, norm: SplitBatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def statistics(self, x: Tensor, partial: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation of the groups, as ``SplitBatchNorm2d`` in training.

        Args:
            x: the values.
            partial: of ``stem``, where that made ``x``.

        Raises:
            ValueError: as there.
        """
        norm = self.norm
        norm.groups(x)
        running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        with torch.no_grad():
            if partial is None:
                mean, inverse = group_statistics(
                    x, *running, norm.views, norm.num_splits, norm.eps, norm.momentum
                )
            else:
                mean, inverse = stem_statistics(
                    partial, *running, x[:, 0].numel(), norm.views, norm.eps, norm.momentum
                )
        return mean, inverse


class KernelNorm(_Statistics):
    """SplitBatchNorm in training, plus another tensor where there is one, then ReLU where wanted.

    Args:
        norm: as in ``SplitBatchNorm2d``; used, not copied.
        relu: whether ReLU comes last.
    """

    def __init__(self, norm: SplitBatchNorm2d, *, relu: bool) -> None:
        super().__init__(norm)
        self.relu = relu

    def forward(
        self, x: Tensor, residual: Tensor | None = None, partial: Tensor | None = None
    ) -> Tensor:
        """``(N, C, H, W)`` to the same; ``partial`` as in ``statistics``."""
        x = _channels_last(x)
        if residual is not None:
            residual = _channels_last(residual.to(x.dtype))
        mean, inverse = self.statistics(x, partial)
        norm = self.norm
        out: Tensor = norm_apply(
            x, residual, mean, inverse, norm.weight, norm.bias, norm.views, self.relu
        )
        return out


class KernelPooledNorm(_Statistics):
    """SplitBatchNorm in training, dropout, 2x2 max pooling and ReLU.

    Dropout draws one seed of 62 bits for each call, on the device and from torch's default
    generator: a CUDA graph that is replayed draws another each time, and the state of the generator
    determines the units.

    Args:
        norm: as in ``KernelNorm``.
        dropout: whose probability is used.
    """

    def __init__(self, norm: SplitBatchNorm2d, dropout: Dropout) -> None:
        super().__init__(norm)
        self.dropout = dropout

    def forward(self, x: Tensor, partial: Tensor | None = None) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H // 2, W // 2)``; ``partial`` as in ``statistics``."""
        x = _channels_last(x)
        mean, inverse = self.statistics(x, partial)
        norm, p = self.norm, self.dropout.p
        if p > 0.0:
            seed = torch.randint(1 << 62, (1,), device=x.device)
        else:
            seed = norm.num_batches_tracked.view(1)  # is not read
        needed = (x.requires_grad or norm.weight.requires_grad) and torch.is_grad_enabled()
        out: Tensor = pooled_apply(
            x, mean, inverse, norm.weight, norm.bias, seed, norm.views, p, needed
        )[0]
        return out


class KernelStem(nn.Module):
    """The first convolution, of images, and the layer behind it.

    Under autocast to bfloat16 a kernel computes it, and the statistics of the layer on the way;
    else torch does.

    Args:
        convolution: ``can_take_stem`` holds for it.
        after: the layer that normalises.
    """

    def __init__(self, convolution: nn.Conv2d, after: KernelNorm | KernelPooledNorm) -> None:
        super().__init__()
        self.convolution, self.after = convolution, after

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to what the layer behind makes of it."""
        kind = x.device.type
        if (
            not torch.is_autocast_enabled(kind)
            or torch.get_autocast_dtype(kind) != torch.bfloat16
            or x.dtype not in (torch.float32, torch.bfloat16)
            or x.requires_grad  # the kernels have no gradient towards it
            or x.numel() >= 2**31
        ):
            return self.after(self.convolution(x))  # type: ignore[no-any-return]
        norm, padding = self.after.norm, int(self.convolution.padding[0])
        norm.groups(x)
        out, partial = stem(x, self.convolution.weight, padding, norm.views, norm.num_splits, True)
        return self.after(out, partial=partial)  # type: ignore[no-any-return]


class _KernelLayers:
    """Makes these layers for a backbone; see ``JoinedLayers``."""

    def norm(self, norm: SplitBatchNorm2d, *, relu: bool) -> KernelNorm:
        return KernelNorm(norm, relu=relu)

    def pooled(self, norm: SplitBatchNorm2d, dropout: Dropout) -> KernelPooledNorm:
        return KernelPooledNorm(norm, dropout)


def can_take_kernels(backbone: nn.Module) -> bool:
    """Whether ``with_kernels`` knows the backbone of an encoder.

    Of a class that is made from one of those it does not: it may compute otherwise.
    """
    if type(backbone) is not ResNet:
        return type(backbone) is ConvNet
    norms = [part for part in backbone.modules() if isinstance(part, _NormBase | SplitBatchNorm2d)]
    blocks = blocks_of(backbone)
    return all(isinstance(norm, SplitBatchNorm2d) for norm in norms) and all(
        type(block) in (BasicBlock, Bottleneck) for block in blocks
    )


def can_take_stem(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether ``KernelStem`` knows a first layer: 3x3 of 3 channels, as both backbones begin."""
    return (
        type(layer) is nn.Conv2d
        and layer.in_channels == 3
        and layer.kernel_size == (3, 3)
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding in ((0, 0), (1, 1))
        and layer.padding_mode == "zeros"
        and layer.groups == 1
        and layer.bias is None
        and layer.weight.dtype == torch.float32
    )


def with_kernels(model: MoCo) -> MoCo:
    """A model of the same tensors, whose encoders compute between convolutions by kernels.

    So does what a step computes beside the encoders (``KernelMoCo``).

    For steps in training: both change the same parameters, running statistics and queue. Up to
    rounding they compute the same; dropout draws other units.

    Args:
        model: its backbones are a ``ConvNet`` or a ResNet of torchvision's blocks with
            ``SplitBatchNorm2d``. It stays as it is; tensors that are put in the place of its own
            later are not seen.
    """
    twin = KernelMoCo.like(model)
    twin._modules = dict(model._modules)
    twin.encoder_q, twin.encoder_k = _encoder(model.encoder_q), _encoder(model.encoder_k)
    return twin


def _encoder(source: Encoder) -> Encoder:
    backbone = joined(source.backbone, _KernelLayers())
    first, second = backbone[:2]
    if can_take_stem(first) and isinstance(second, KernelNorm | KernelPooledNorm):
        backbone = nn.Sequential(KernelStem(first, second), *backbone[2:])
    return Encoder(backbone, source.projection_head, source.feature_dim, source.dim)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
