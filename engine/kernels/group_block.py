"""BatchNorm over groups and what follows it, as operations of torch with gradients.

On a CUDA card they are kernels in Triton: one passage for the statistics, one for the output, and
two for the gradients, beside small ones that merge sums. They work one by one, in the recording of
a CUDA graph (a first call must come before it: it compiles), and inside torch.compile.

A batch has ``views`` views one after another. In each, image ``n`` belongs to group ``n mod
splits``; there are ``G = views * splits`` groups. Values are float32 or bfloat16, channels_last
(float64 on a CPU, too); statistics, weight and bias are float32. Values, not addresses, decide the
result: it repeats bit by bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.kernels import written_block
from engine.kernels.operations import HAS_TRITON, by_torch, operation

if HAS_TRITON:
    from engine.kernels.launches import (
        launch_norm_apply,
        launch_norm_backward,
        launch_pooled_apply,
        launch_pooled_backward,
        launch_statistics,
    )


@operation("moco::group_statistics", mutates_args=("running_mean", "running_var", "batches"))
def group_statistics(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
    views: int,
    splits: int,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation of each group and channel; without a gradient.

    The running statistics move as those of ``SplitBatchNorm2d``.

    Args:
        x: ``(N, C, H, W)``; a group has two or more values a channel.
        running_mean: ``(C,)``, changed in place.
        running_var: ``(C,)``, unbiased, changed in place.
        batches: int64 scalar, count of the views so far, changed in place.
        views: of the batch.
        splits: groups of a view.
        eps: added to the biased variance.
        momentum: share of a new statistic in the running one.

    Returns:
        Both float32 ``(G, C)``.
    """
    if by_torch(x):
        return written_block.statistics(
            x, running_mean, running_var, batches, views, splits, eps, momentum
        )
    return launch_statistics(x, running_mean, running_var, batches, views, splits, eps, momentum)


@operation("moco::norm_apply")
def norm_apply(
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    bias: Tensor,
    views: int,
    relu: bool,
) -> Tensor:
    """BatchNorm, plus ``residual`` where there is one, ReLU where wanted.

    Its gradients are those of BatchNorm, through the statistics too.

    Args:
        x: ``(N, C, H, W)``.
        residual: of the shape and dtype of ``x``.
        mean: of ``group_statistics``.
        inverse: of ``group_statistics``.
        weight: ``(C,)``.
        bias: ``(C,)``.
        views: of the batch.
        relu: whether ReLU comes last.

    Returns:
        Of the shape and dtype of ``x``.
    """
    if by_torch(x):
        return written_block.norm_apply(x, residual, mean, inverse, weight, bias, views, relu)
    return launch_norm_apply(x, residual, mean, inverse, weight, bias, views, relu)


@operation("moco::norm_backward")
def norm_backward(
    grad: Tensor,
    x: Tensor,
    out: Tensor | None,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    bias: Tensor,
    views: int,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of ``norm_apply``.

    Args:
        grad: of the output.
        x: as there; and so what has the same name.
        out: the output, where there was a residual; else None.
        mean: as there.
        inverse: as there.
        weight: as there.
        bias: as there.
        views: as there.
        relu: as there.

    Returns:
        Towards ``x``; towards the residual, empty where there was none or no ReLU (then it is
        ``grad`` itself); towards bias and weight, ``(2, C)``.
    """
    if by_torch(x):
        return written_block.norm_backward(grad, x, out, mean, inverse, weight, bias, views, relu)
    return launch_norm_backward(grad, x, out, mean, inverse, weight, bias, views, relu)


@operation("moco::pooled_apply")
def pooled_apply(
    x: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    bias: Tensor,
    seed: Tensor,
    views: int,
    p: float,
    winners: bool,
) -> tuple[Tensor, Tensor]:
    """BatchNorm, dropout, 2x2 max pooling, ReLU; gradients as of ``norm_apply``.

    Args:
        x: ``(N, C, H, W)``, H and W at least 2; an odd last row or column is not pooled.
        mean: of ``group_statistics``.
        inverse: of ``group_statistics``.
        weight: ``(C,)``.
        bias: ``(C,)``.
        seed: int64 ``(1,)``, read on the device: the same one drops the same units.
        views: of the batch.
        p: probability that a unit is dropped, in [0, 1), as a multiple of 2**-24.
        winners: whether there will be a backward pass.

    Returns:
        ``(N, C, H // 2, W // 2)``, and of the same shape which of four pixels each value is from,
        uint8, 4 where ReLU is closed; empty where not wanted.
    """
    if by_torch(x):
        return written_block.pooled_apply(x, mean, inverse, weight, bias, seed, views, p, winners)
    return launch_pooled_apply(x, mean, inverse, weight, bias, seed, views, p, winners)


@operation("moco::pooled_backward")
def pooled_backward(
    grad: Tensor,
    x: Tensor,
    winner: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    views: int,
    p: float,
) -> tuple[Tensor, Tensor]:
    """The gradients of ``pooled_apply``.

    Args:
        grad: of the output.
        x: as there; and so what has the same name.
        winner: what it gave.
        mean: as there.
        inverse: as there.
        weight: as there.
        views: as there.
        p: as there.

    Returns:
        Towards ``x``; towards bias and weight, ``(2, C)``.
    """
    if by_torch(x):
        return written_block.pooled_backward(grad, x, winner, mean, inverse, weight, views, p)
    return launch_pooled_backward(grad, x, winner, mean, inverse, weight, views, p)


# ---------------------------------------------------------------- shapes, where nothing is computed


def _fake_statistics(x: Tensor, running_mean: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    views, splits = others[2:4]
    made = running_mean.new_empty((views * splits, x.shape[1]))
    return made, torch.empty_like(made)


def _fake_norm(x: Tensor, *_others: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _fake_norm_backward(
    _grad: Tensor, x: Tensor, out: Tensor | None, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    like = torch.empty_like(x, memory_format=torch.channels_last)
    masked = torch.empty_like(like) if others[-1] and out is not None else x.new_empty(0)
    return like, masked, others[2].new_empty((2, x.shape[1]))


def _fake_pooled(x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    out = x.new_empty((n, h // 2, w // 2, c)).permute(0, 3, 1, 2)
    winner = torch.empty_like(out, dtype=torch.uint8)
    return out, winner if others[-1] else winner.new_empty(0)


def _fake_pooled_backward(_grad: Tensor, x: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    like = torch.empty_like(x, memory_format=torch.channels_last)
    return like, others[3].new_empty((2, x.shape[1]))


# ---------------------------------------------------------------------------------------- gradients


def _keep_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, residual, mean, inverse, weight, bias, views, relu = inputs
    ctx.residual, ctx.views, ctx.relu = residual is not None, views, relu
    kept = (output,) if ctx.residual and relu else ()
    ctx.save_for_backward(x, mean, inverse, weight, bias, *kept)


def _norm_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, mean, inverse, weight, bias, *kept = ctx.saved_tensors
    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x, masked, (grad_bias, grad_weight) = norm_backward(
        grad, x, kept[0] if kept else None, mean, inverse, weight, bias, ctx.views, ctx.relu
    )
    towards = (masked if ctx.relu else grad) if ctx.residual else None
    return grad_x, towards, None, None, grad_weight, grad_bias, None, None


def _keep_pooled(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, mean, inverse, weight, _bias, _seed, views, p, _winners = inputs
    ctx.views, ctx.p = views, p
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # else its gradient, of zeros, takes a launch
    ctx.save_for_backward(x, output[1], mean, inverse, weight)


def _pooled_gradients(ctx: Any, grad: Tensor, _winner: None) -> tuple[Tensor | None, ...]:
    x, winner, mean, inverse, weight = ctx.saved_tensors
    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x, (grad_bias, grad_weight) = pooled_backward(
        grad, x, winner, mean, inverse, weight, ctx.views, ctx.p
    )
    return grad_x, None, None, grad_weight, grad_bias, None, None, None, None


group_statistics.register_fake(_fake_statistics)
norm_apply.register_fake(_fake_norm)
norm_backward.register_fake(_fake_norm_backward)
pooled_apply.register_fake(_fake_pooled)
pooled_backward.register_fake(_fake_pooled_backward)
norm_apply.register_autograd(_norm_gradients, setup_context=_keep_norm)
pooled_apply.register_autograd(_pooled_gradients, setup_context=_keep_pooled)
