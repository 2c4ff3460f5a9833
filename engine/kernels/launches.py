"""Launches of the kernels; the functions are those of ``group_block`` on a card.

Inputs are channels_last and contiguous, float32 or bfloat16; everything by channels is float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from triton.runtime.jit import JITFunction

from engine.kernels.choices import CHOICES, MERGE_COLUMNS, MERGE_WARPS
from engine.kernels.group_tiles import Tiles, merge_tiles, tiles
from engine.kernels.triton_norm import (
    apply_kernel,
    backward_kernel,
    merge_gradients_kernel,
    merge_statistics_kernel,
    reduce_kernel,
    statistics_kernel,
)
from engine.kernels.triton_pool import (
    pooled_apply_kernel,
    pooled_backward_kernel,
    pooled_reduce_kernel,
)
from engine.kernels.written_block import keep_factor, threshold


def wrap_triton(kernel: Any) -> Any:
    """Torch's own, with which torch.compile sees a kernel; up to torch 2.11 it took no other.

    Another is one that Triton interprets.
    """
    return torch.library.wrap_triton(kernel) if isinstance(kernel, JITFunction) else kernel


def launch_statistics(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
    views: int,
    splits: int,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """As in ``group_block``."""
    n, c, h, w = x.shape
    groups = views * splits
    rows = n // groups * h * w
    choice = CHOICES["statistics"]
    part = tiles(rows, groups, c, choice)
    partial = x.new_empty((3, groups, part.parts, c), dtype=torch.float32)
    wrap_triton(statistics_kernel)[grid(part, groups)](
        x,
        partial,
        rows,
        n // views,
        part.rows_per_part,
        SPLITS=splits,
        PIXELS=h * w,
        CHANNELS=c,
        ROWS=part.rows,
        COLUMNS=part.columns,
        UNROLL=choice.unroll,
        num_warps=choice.warps,
    )
    return merge_statistics(
        partial,
        running_mean,
        running_var,
        batches,
        rows,
        part.rows_per_part,
        views,
        eps,
        momentum,
    )


def merge_statistics(
    partial: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
    rows: int,
    rows_per_part: int,
    views: int,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """Mean and inverse ``(G, C)`` of the statistics ``(3, G, parts, C)`` of parts of groups.

    Args:
        partial: of each part a number, its mean from there on, and the squares about it.
        running_mean: as in ``group_statistics``; and so what has the same name.
        running_var: as there.
        batches: as there.
        rows: of a group.
        rows_per_part: of all parts but the last.
        views: as there.
        eps: as there.
        momentum: as there.
    """
    _, groups, parts, c = partial.shape
    mean = partial.new_empty((groups, c))
    inverse = torch.empty_like(mean)
    merge = merge_tiles(parts, groups, c)
    wrap_triton(merge_statistics_kernel)[(merge.column_blocks,)](
        partial,
        mean,
        inverse,
        running_mean,
        running_var,
        batches,
        rows,
        rows_per_part,
        eps,
        momentum,
        VIEWS=views,
        SPLITS=groups // views,
        PARTS=parts,
        CHANNELS=c,
        GROUPS_TILE=merge.groups,
        PARTS_TILE=merge.parts,
        COLUMNS=MERGE_COLUMNS,
        num_warps=MERGE_WARPS,
    )
    return mean, inverse


def launch_norm_apply(
    x: Tensor,
    residual: Tensor | None,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    bias: Tensor,
    views: int,
    relu: bool,
) -> Tensor:
    """As in ``group_block``."""
    n, c, h, w = x.shape
    groups = len(mean)
    rows = n // groups * h * w
    choice = CHOICES["apply"]
    part = tiles(rows, groups, c, choice)
    out = _like(x)
    wrap_triton(apply_kernel)[grid(part, groups)](
        x,
        x if residual is None else residual,
        mean,
        inverse,
        weight,
        bias,
        out,
        rows,
        n // views,
        part.rows_per_part,
        SPLITS=groups // views,
        PIXELS=h * w,
        CHANNELS=c,
        RESIDUAL=residual is not None,
        RELU=relu,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    return out


def launch_norm_backward(
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
    """As in ``group_block``."""
    n, c, h, w = x.shape
    groups = len(mean)
    rows = n // groups * h * w
    choice = CHOICES["reduce"]
    part = tiles(rows, groups, c, choice)
    residual = relu and out is not None
    masked = _like(x) if residual else x.new_empty(0)
    partial = x.new_empty((2, groups, part.parts, c), dtype=torch.float32)
    wrap_triton(reduce_kernel)[grid(part, groups)](
        grad,
        x,
        x if out is None else out,
        masked if residual else grad,
        mean,
        inverse,
        weight,
        bias,
        partial,
        rows,
        n // views,
        part.rows_per_part,
        SPLITS=groups // views,
        PIXELS=h * w,
        CHANNELS=c,
        RESIDUAL=residual,
        RELU=relu,
        ROWS=part.rows,
        COLUMNS=part.columns,
        UNROLL=choice.unroll,
        num_warps=choice.warps,
    )
    sums, gradients = _merge_gradients(partial)
    choice = CHOICES["backward"]
    part = tiles(rows, groups, c, choice)
    grad_x = _like(x)
    wrap_triton(backward_kernel)[grid(part, groups)](
        masked if residual else grad,
        x,
        mean,
        inverse,
        weight,
        bias,
        sums,
        grad_x,
        rows,
        n // views,
        part.rows_per_part,
        SPLITS=groups // views,
        PIXELS=h * w,
        CHANNELS=c,
        RELU=relu and not residual,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    return grad_x, masked, gradients


def launch_pooled_apply(
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
    """As in ``group_block``."""
    n, c, h, w = x.shape
    groups = len(mean)
    rows = n // groups * (h // 2) * (w // 2)
    choice = CHOICES["pooled_apply"]
    part = tiles(rows, groups, c, choice)
    out = x.new_empty((n, h // 2, w // 2, c)).permute(0, 3, 1, 2)
    winner = (
        torch.empty_like(out, dtype=torch.uint8) if winners else out.new_empty(0, dtype=torch.uint8)
    )
    wrap_triton(pooled_apply_kernel)[grid(part, groups)](
        x,
        mean,
        inverse,
        weight,
        bias,
        seed,
        out,
        winner,
        rows,
        n // views,
        part.rows_per_part,
        threshold(p),
        keep_factor(p),
        SPLITS=groups // views,
        HEIGHT=h,
        WIDTH=w,
        CHANNELS=c,
        DROPOUT=p > 0.0,
        WINNERS=winners,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    return out, winner


def launch_pooled_backward(
    grad: Tensor,
    x: Tensor,
    winner: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor,
    views: int,
    p: float,
) -> tuple[Tensor, Tensor]:
    """As in ``group_block``."""
    n, c, h, w = x.shape
    groups = len(mean)
    rows = n // groups * (h // 2) * (w // 2)
    choice = CHOICES["pooled_reduce"]
    part = tiles(rows, groups, c, choice)
    partial = x.new_empty((2, groups, part.parts, c), dtype=torch.float32)
    wrap_triton(pooled_reduce_kernel)[grid(part, groups)](
        grad,
        x,
        winner,
        mean,
        inverse,
        partial,
        rows,
        n // views,
        part.rows_per_part,
        keep_factor(p),
        SPLITS=groups // views,
        HEIGHT=h,
        WIDTH=w,
        CHANNELS=c,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    sums, gradients = _merge_gradients(partial)
    choice = CHOICES["pooled_backward"]
    # Of the cells that reach over an odd edge, too.
    rows = n // groups * ((h + 1) // 2) * ((w + 1) // 2)
    part = tiles(rows, groups, c, choice)
    grad_x = _like(x)
    wrap_triton(pooled_backward_kernel)[grid(part, groups)](
        grad,
        x,
        winner,
        mean,
        inverse,
        weight,
        sums,
        grad_x,
        rows,
        n // groups * h * w,
        n // views,
        part.rows_per_part,
        keep_factor(p),
        SPLITS=groups // views,
        HEIGHT=h,
        WIDTH=w,
        CHANNELS=c,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    return grad_x, gradients


def _merge_gradients(partial: Tensor) -> tuple[Tensor, Tensor]:
    """``(2, G, parts, C)`` to the sums of each group ``(2, G, C)`` and of all ``(2, C)``."""
    _, groups, parts, c = partial.shape
    sums = partial.new_empty((2, groups, c))
    gradients = partial.new_empty((2, c))
    merge = merge_tiles(parts, groups, c)
    wrap_triton(merge_gradients_kernel)[(merge.column_blocks, 2)](
        partial,
        sums,
        gradients,
        GROUPS=groups,
        PARTS=parts,
        CHANNELS=c,
        GROUPS_TILE=merge.groups,
        PARTS_TILE=merge.parts,
        COLUMNS=MERGE_COLUMNS,
        num_warps=MERGE_WARPS,
    )
    return sums, gradients


def grid(part: Tiles, groups: int) -> tuple[int, int, int]:
    """The programs of a kernel: parts of a group, groups, blocks of channels."""
    return part.parts, groups, part.column_blocks


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)
