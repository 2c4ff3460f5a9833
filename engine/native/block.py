"""BatchNorm, dropout, pooling and ReLU between two convolutions as one operation each way.

One operation after another moves every value through memory a dozen times; here a group of images
is read twice and written once in each direction. What a gradient needs is kept as one byte for each
pooled value (which of four inputs won), or not at all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.native.library import call, level_number

DTYPES = (torch.float32, torch.bfloat16)
"""Of the values; sums, weights and statistics are float32."""
KEEP_ALL = 256
"""``keep`` without dropout."""


def channels_last(x: Tensor) -> Tensor:
    """``x`` with its values as the kernels read them: itself where they lie so already."""
    return x.contiguous(memory_format=torch.channels_last)


def group_statistics(level: int, x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, 1 / standard deviation and unbiased variance of each channel, float32 ``(C,)``."""
    n, c, h, w = x.shape
    mean, inverse, variance = torch.empty(3, c).unbind()
    call(
        "statistics",
        level,
        x.dtype == torch.float32,
        x.data_ptr(),
        n,
        h * w,
        c,
        eps,
        mean.data_ptr(),
        inverse.data_ptr(),
        variance.data_ptr(),
    )
    return mean, inverse, variance


def apply_norm(
    level: int,
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    relu: bool,
) -> Tensor:
    """``relu((x - mean) * scale + bias + residual)``; all contiguous, images channels_last."""
    n, c, h, w = x.shape
    out = torch.empty_like(x)
    call(
        "apply",
        level,
        x.dtype == torch.float32,
        x.data_ptr(),
        None if residual is None else residual.data_ptr(),
        mean.data_ptr(),
        scale.data_ptr(),
        bias.data_ptr(),
        out.data_ptr(),
        n * h * w,
        c,
        relu,
    )
    return out


def apply_pooled(
    level: int,
    x: Tensor,
    mean: Tensor,
    scale: Tensor,
    bias: Tensor,
    winner: Tensor | None = None,
    *,
    keep: int = KEEP_ALL,
    seed: int = 0,
    first: int = 0,
) -> Tensor:
    """The same with dropout before, and pooling and ReLU after it; ``winner`` is written to."""
    n, c, h, w = x.shape
    out = torch.empty((n, c, h // 2, w // 2), dtype=x.dtype, memory_format=torch.channels_last)
    call(
        "apply_pooled",
        level,
        x.dtype == torch.float32,
        x.data_ptr(),
        mean.data_ptr(),
        scale.data_ptr(),
        bias.data_ptr(),
        out.data_ptr(),
        None if winner is None else winner.data_ptr(),
        n,
        h,
        w,
        c,
        keep,
        seed,
        first,
    )
    return out


def forward_pooled(
    ctx: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    statistics: tuple[Tensor, Tensor, Tensor],
    level: int,
    *,
    keep: int,
    seed: int,
    first: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """What a pooled block gives, with its statistics known; ``ctx`` keeps what a gradient needs."""
    mean, inverse, variance = statistics
    n, c, h, w = x.shape
    factor = KEEP_ALL / keep
    scale, offset = weight * inverse * factor, bias * factor
    winner = None
    if any(ctx.needs_input_grad):
        winner = torch.empty(n * c * (h // 2) * (w // 2), dtype=torch.uint8)
        ctx.save_for_backward(x, weight, mean, inverse, winner)
    out = apply_pooled(level, x, mean, scale, offset, winner, keep=keep, seed=seed, first=first)
    ctx.factor, ctx.level = factor, level
    ctx.mark_non_differentiable(mean, variance)
    return out, mean, variance


class _PooledBlock(torch.autograd.Function):
    """See ``pooled_block``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        keep: int,
        seed: int,
        level: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = channels_last(x)
        statistics = group_statistics(level, x, eps)
        return forward_pooled(ctx, x, weight, bias, statistics, level, keep=keep, seed=seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, winner = ctx.saved_tensors
        n, c, h, w = x.shape
        grad = channels_last(grads[0])
        grad_x = torch.empty_like(x)
        grad_weight, grad_bias = torch.empty(2, c).unbind()
        call(
            "backward_pooled",
            ctx.level,
            x.dtype == torch.float32,
            grad.data_ptr(),
            x.data_ptr(),
            winner.data_ptr(),
            weight.data_ptr(),
            mean.data_ptr(),
            inverse.data_ptr(),
            ctx.factor,
            grad_x.data_ptr(),
            grad_weight.data_ptr(),
            grad_bias.data_ptr(),
            n,
            h,
            w,
            c,
        )
        return grad_x, grad_weight, grad_bias, None, None, None, None


class _NormBlock(torch.autograd.Function):
    """See ``block``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        relu: bool,
        eps: float,
        level: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = channels_last(x)
        residual = None if residual is None else channels_last(residual)
        mean, inverse, variance = group_statistics(level, x, eps)
        out = apply_norm(level, x, residual, mean, weight * inverse, bias, relu=relu)
        ctx.save_for_backward(x, weight, mean, inverse, *([out] if relu else []))
        ctx.residual, ctx.level = residual is not None, level
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, *rest = ctx.saved_tensors
        n, c, h, w = x.shape
        grad = channels_last(grads[0])
        grad_x = torch.empty_like(x)
        grad_residual = None
        if ctx.residual:  # without ReLU it is the gradient itself
            grad_residual = torch.empty_like(x) if rest else grad
        grad_weight, grad_bias = torch.empty(2, c).unbind()
        call(
            "backward",
            ctx.level,
            x.dtype == torch.float32,
            grad.data_ptr(),
            x.data_ptr(),
            rest[0].data_ptr() if rest else None,
            weight.data_ptr(),
            mean.data_ptr(),
            inverse.data_ptr(),
            grad_x.data_ptr(),
            grad_residual.data_ptr() if rest and grad_residual is not None else None,
            grad_weight.data_ptr(),
            grad_bias.data_ptr(),
            n,
            h * w,
            c,
        )
        return grad_x, grad_weight, grad_bias, grad_residual, None, None, None


def pooled_block(
    x: Tensor, weight: Tensor, bias: Tensor, *, eps: float, keep: int, seed: int, level: str
) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNorm over all of ``x``, dropout, 2x2 max pooling, ReLU.

    Args:
        x: ``(N, C, H, W)`` float32 or bfloat16 on a CPU, H and W at least 2; best channels_last.
        weight: float32 ``(C,)``, of BatchNorm.
        bias: float32 ``(C,)``, of BatchNorm.
        eps: added to the variance.
        keep: in how many of 256 cases a unit is kept, 1 to 256; kept units are multiplied by
            ``256 / keep``.
        seed: of the units that are kept, 0 to 2**64 - 1. One seed gives the same units at every
            level.
        level: of ``LEVELS``.

    Returns:
        ``(N, C, H // 2, W // 2)`` in the dtype of ``x``, channels_last; mean and unbiased variance
        of each channel, float32 ``(C,)``, without a gradient.
    """
    out: tuple[Tensor, Tensor, Tensor] = _PooledBlock.apply(
        x, weight, bias, eps, keep, seed, level_number(level)
    )
    return out


def block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    *,
    relu: bool,
    eps: float,
    level: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNorm over all of ``x``, plus ``residual`` where there is one, ReLU where wanted.

    Args:
        x: ``(N, C, H, W)`` float32 or bfloat16 on a CPU; best channels_last.
        weight: float32 ``(C,)``, of BatchNorm.
        bias: float32 ``(C,)``, of BatchNorm.
        residual: of the shape and dtype of ``x``.
        relu: whether ReLU comes last.
        eps: added to the variance.
        level: of ``LEVELS``.

    Returns:
        ``(N, C, H, W)`` in the dtype of ``x``, channels_last; mean and unbiased variance of each
        channel, float32 ``(C,)``, without a gradient.
    """
    out: tuple[Tensor, Tensor, Tensor] = _NormBlock.apply(
        x, weight, bias, residual, relu, eps, level_number(level)
    )
    return out


def running_pooled_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    eps: float,
    level: str,
) -> Tensor:
    """``pooled_block`` with given statistics and without dropout, as in eval mode.

    Args:
        x: as of ``pooled_block``.
        weight: float32 ``(C,)``, of BatchNorm.
        bias: float32 ``(C,)``, of BatchNorm.
        mean: float32 ``(C,)``, the running mean.
        variance: float32 ``(C,)``, the running variance.
        eps: added to the variance.
        level: of ``LEVELS``.

    Returns:
        ``(N, C, H // 2, W // 2)`` in the dtype of ``x``, channels_last, without a gradient.
    """
    with torch.no_grad():
        scale = weight * torch.rsqrt(variance + eps)
        return apply_pooled(level_number(level), channels_last(x), mean, scale, bias)


def running_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    residual: Tensor | None = None,
    *,
    relu: bool,
    eps: float,
    level: str,
) -> Tensor:
    """``block`` with given statistics, as in eval mode.

    Args:
        x: as of ``block``.
        weight: float32 ``(C,)``, of BatchNorm.
        bias: float32 ``(C,)``, of BatchNorm.
        mean: float32 ``(C,)``, the running mean.
        variance: float32 ``(C,)``, the running variance.
        residual: of the shape and dtype of ``x``.
        relu: whether ReLU comes last.
        eps: added to the variance.
        level: of ``LEVELS``.

    Returns:
        ``(N, C, H, W)`` in the dtype of ``x``, channels_last, without a gradient.
    """
    with torch.no_grad():
        scale = weight * torch.rsqrt(variance + eps)
        residual = None if residual is None else channels_last(residual)
        number = level_number(level)
        return apply_norm(number, channels_last(x), residual, mean, scale, bias, relu=relu)
