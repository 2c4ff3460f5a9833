"""``engine.native.block`` for a batch in parts: statistics and gradients are those of the whole.

Every thread calls these functions for its part, and meets the others once in each direction.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from engine.native.block import (
    apply_norm,
    channels_last,
    forward_pooled,
    group_statistics,
)
from engine.native.library import call, level_number
from engine.native.parts import Seat


def _statistics(level: int, x: Tensor, eps: float, seat: Seat) -> tuple[Tensor, Tensor, Tensor]:
    """As ``group_statistics``, of all parts together."""
    c, pixels = x.shape[1], x.shape[2] * x.shape[3]
    own_mean, _, own_variance = group_statistics(level, x, eps)
    told = seat.exchange("forward", torch.stack((own_mean, own_variance)))  # (parts, 2, C)
    means, variances = (told[:, i].contiguous() for i in range(2))
    counts = seat.counts(pixels)
    mean, inverse, variance = torch.empty(3, c).unbind()
    call(
        "combine_statistics",
        means.data_ptr(),
        variances.data_ptr(),
        counts.data_ptr(),
        len(counts),
        c,
        eps,
        mean.data_ptr(),
        inverse.data_ptr(),
        variance.data_ptr(),
    )
    return mean, inverse, variance


def _coefficients(
    sums: Tensor, x: Tensor, weight: Tensor, inverse: Tensor, factor: float, seat: Seat
) -> tuple[Tensor, Tensor, Tensor]:
    """What the gradient towards the input is made of, and those of weight and bias by this part.

    Args:
        sums: float64 ``(2, C)``, of this part.
        x: the input of this part.
        weight: float32 ``(C,)``.
        inverse: float32 ``(C,)``.
        factor: of dropout.
        seat: of this part.
    """
    c = x.shape[1]
    told = seat.exchange("backward", sums)  # (parts, 2, C)
    coefficients = torch.empty(3, c)
    grad_weight, grad_bias = torch.empty(2, c).unbind()
    call(
        "combine_sums",
        told.data_ptr(),
        len(told),
        seat.number,
        weight.data_ptr(),
        inverse.data_ptr(),
        int(seat.counts(x.shape[2] * x.shape[3]).sum()),
        factor,
        c,
        coefficients.data_ptr(),
        grad_weight.data_ptr(),
        grad_bias.data_ptr(),
    )
    return coefficients, grad_weight, grad_bias


class _PartedPooledBlock(torch.autograd.Function):
    """See ``parted_pooled_block``."""

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
        seat: Seat,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = channels_last(x)
        ctx.seat = seat
        statistics = _statistics(level, x, eps, seat)
        dropout: Any = {"keep": keep, "seed": seed, "first": seat.first}
        return forward_pooled(ctx, x, weight, bias, statistics, level, **dropout)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, winner = ctx.saved_tensors
        n, c, h, w = x.shape
        grad, wide = channels_last(grads[0]), x.dtype == torch.float32
        given = (grad.data_ptr(), x.data_ptr(), winner.data_ptr(), mean.data_ptr())
        sums = torch.empty(2, c, dtype=torch.float64)
        call("backward_pooled_sums", ctx.level, wide, *given, sums.data_ptr(), n, h, w, c)
        coefficients, *own = _coefficients(sums, x, weight, inverse, ctx.factor, ctx.seat)
        grad_x = torch.empty_like(x)
        made = (coefficients.data_ptr(), grad_x.data_ptr())
        call("backward_pooled_apply", ctx.level, wide, *given, *made, n, h, w, c)
        return grad_x, *own, None, None, None, None, None


class _PartedNormBlock(torch.autograd.Function):
    """See ``parted_block``."""

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
        seat: Seat,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x = channels_last(x)
        residual = None if residual is None else channels_last(residual)
        mean, inverse, variance = _statistics(level, x, eps, seat)
        out = apply_norm(level, x, residual, mean, weight * inverse, bias, relu=relu)
        ctx.save_for_backward(x, weight, mean, inverse, *([out] if relu else []))
        ctx.residual, ctx.level, ctx.seat = residual is not None, level, seat
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, *rest = ctx.saved_tensors
        n, c, h, w = x.shape
        grad, wide = channels_last(grads[0]), x.dtype == torch.float32
        out = rest[0].data_ptr() if rest else None
        given = (grad.data_ptr(), x.data_ptr(), out, mean.data_ptr())
        sums = torch.empty(2, c, dtype=torch.float64)
        call("backward_sums", ctx.level, wide, *given, sums.data_ptr(), n, h * w, c)
        coefficients, *own = _coefficients(sums, x, weight, inverse, 1.0, ctx.seat)
        grad_x, grad_residual = torch.empty_like(x), None
        if ctx.residual:  # without ReLU it is the gradient itself
            grad_residual = torch.empty_like(x) if rest else grad
        written = grad_residual.data_ptr() if rest and grad_residual is not None else None
        made = (coefficients.data_ptr(), grad_x.data_ptr(), written)
        call("backward_apply", ctx.level, wide, *given, *made, n * h * w, c)
        return grad_x, *own, grad_residual, None, None, None, None


def parted_pooled_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    keep: int,
    seed: int,
    level: str,
    seat: Seat,
) -> tuple[Tensor, Tensor, Tensor]:
    """``pooled_block`` of one part, with the statistics of all parts.

    Args:
        x: of this part; the rest as of ``pooled_block``, the same in every part.
        weight: as of ``pooled_block``; its gradient is the share of this part.
        bias: likewise.
        eps: as of ``pooled_block``.
        keep: as of ``pooled_block``.
        seed: as of ``pooled_block``. The units that are kept are those of the whole batch.
        level: of ``LEVELS``.
        seat: of this layer and part.

    Returns:
        As ``pooled_block``; mean and variance are those of all parts, the same bits in each.

    Raises:
        threading.BrokenBarrierError: another part has failed.
    """
    number = level_number(level)
    out: tuple[Tensor, Tensor, Tensor] = _PartedPooledBlock.apply(
        x, weight, bias, eps, keep, seed, number, seat
    )
    return out


def parted_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None = None,
    *,
    relu: bool,
    eps: float,
    level: str,
    seat: Seat,
) -> tuple[Tensor, Tensor, Tensor]:
    """``block`` of one part, with the statistics of all parts.

    Args:
        x: of this part; the rest as of ``block``, the same in every part.
        weight: as of ``block``; its gradient is the share of this part.
        bias: likewise.
        residual: of the shape and dtype of ``x``.
        relu: whether ReLU comes last.
        eps: added to the variance.
        level: of ``LEVELS``.
        seat: of this layer and part.

    Returns:
        As ``block``; mean and variance are those of all parts, the same bits in each.

    Raises:
        threading.BrokenBarrierError: another part has failed.
    """
    number = level_number(level)
    out: tuple[Tensor, Tensor, Tensor] = _PartedNormBlock.apply(
        x, weight, bias, residual, relu, eps, number, seat
    )
    return out
