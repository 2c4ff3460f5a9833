"""The first convolution of images as an operation of torch with a gradient, in bfloat16.

Of 3 channels, with a kernel of 3x3 and stride 1: cuDNN takes many times as long as the bytes. What
the BatchNorm behind it wants to know is found on the way. Laid out as in ``group_block``; images
and weights are rounded to bfloat16 as autocast does. Under float32 a net takes torch's
own convolution.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.kernels import written_stem
from engine.kernels.operations import HAS_TRITON, by_torch, operation

if HAS_TRITON:
    from engine.kernels.stem_launches import (
        launch_stem,
        launch_stem_backward,
        launch_stem_statistics,
        stem_tiles,
    )


@operation("moco::stem")
def stem(
    x: Tensor, weight: Tensor, padding: int, views: int, splits: int, statistics: bool
) -> tuple[Tensor, Tensor]:
    """The convolution without a bias; its gradient is that towards the weights.

    Args:
        x: ``(N, 3, H, W)`` float32 or bfloat16, fewer than 2**31 values, without a gradient.
        weight: ``(C, 3, 3, 3)`` float32.
        padding: zeros on each side.
        views: of the batch.
        splits: groups of a view.
        statistics: whether those are wanted.

    Returns:
        ``(N, C, H + 2 * padding - 2, W + 2 * padding - 2)`` bfloat16, channels_last; and for
        ``stem_statistics`` those of the parts of each group, ``(3, G, parts, C)`` float32, empty
        where not wanted.
    """
    if by_torch(x):
        return written_stem.stem(x, weight, padding, views, splits, statistics)
    x, weight = _channels_last(x), _channels_last(weight)
    return launch_stem(x, weight, padding, views, splits, statistics)


@operation("moco::stem_statistics", mutates_args=("running_mean", "running_var", "batches"))
def stem_statistics(
    partial: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
    values: int,
    views: int,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """``group_block.group_statistics`` of what ``stem`` gave.

    Args:
        partial: of ``stem``.
        running_mean: as there; and so what has the same name.
        running_var: as there.
        batches: as there.
        values: of a channel of the output, over all images.
        views: as there.
        eps: as there.
        momentum: as there.

    Returns:
        As there.
    """
    if by_torch(partial):
        return written_stem.stem_statistics(
            partial, running_mean, running_var, batches, values, views, eps, momentum
        )
    return launch_stem_statistics(
        partial, running_mean, running_var, batches, values, views, eps, momentum
    )


@operation("moco::stem_backward")
def stem_backward(grad: Tensor, x: Tensor, padding: int) -> Tensor:
    """The gradient of ``stem`` towards the weights.

    Args:
        grad: of the output, bfloat16.
        x: as there.
        padding: as there.

    Returns:
        ``(C, 3, 3, 3)`` float32, channels_last; autocast would round it to bfloat16.
    """
    if by_torch(x):
        return written_stem.stem_backward(grad, x, padding)
    return launch_stem_backward(_channels_last(grad), _channels_last(x), padding)


def _channels_last(values: Tensor) -> Tensor:
    return values.contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- shapes, where nothing is computed


def _fake_stem(
    x: Tensor, weight: Tensor, padding: int, views: int, splits: int, statistics: bool
) -> tuple[Tensor, Tensor]:
    n, c, groups = len(x), len(weight), views * splits
    below, across = (size + 2 * padding - 2 for size in x.shape[2:])
    parts = 1 if by_torch(x) else stem_tiles(n * below * across, groups, c).parts
    out = x.new_empty((n, below, across, c), dtype=torch.bfloat16).permute(0, 3, 1, 2)
    shape = (3, groups, parts, c) if statistics else (0,)
    return out, x.new_empty(shape, dtype=torch.float32)


def _fake_statistics(partial: Tensor, *_others: Any) -> tuple[Tensor, Tensor]:
    made = partial.new_empty((partial.shape[1], partial.shape[3]))
    return made, torch.empty_like(made)


def _fake_backward(grad: Tensor, x: Tensor, _padding: int) -> Tensor:
    return x.new_empty((grad.shape[1], 3, 3, 3), dtype=torch.float32).permute(0, 3, 1, 2)


# ---------------------------------------------------------------------------------------- gradients


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.padding = inputs[2]
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # else its gradient, of zeros, takes a launch
    ctx.save_for_backward(inputs[0])


def _gradients(ctx: Any, grad: Tensor, _partial: None) -> tuple[Tensor | None, ...]:
    return None, stem_backward(grad, ctx.saved_tensors[0], ctx.padding), None, None, None, None


stem.register_fake(_fake_stem)
stem_statistics.register_fake(_fake_statistics)
stem_backward.register_fake(_fake_backward)
stem.register_autograd(_gradients, setup_context=_keep)
