"""Launches of the first convolution's kernels; the functions are those of ``stem_block`` on a card.

Images and gradients are channels_last and contiguous, weights of every output channel by y, x and
input channel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.kernels.choices import CHOICES, MERGE_WARPS
from engine.kernels.group_tiles import Tiles, tiles
from engine.kernels.launches import grid, merge_statistics, wrap_triton
from engine.kernels.triton_stem import (
    merge_stem_gradient_kernel,
    stem_gradient_kernel,
    stem_kernel,
)

LEAST = 16
"""Rows and columns of the smallest product on tensor cores."""
MERGE_PARTS = 256
MERGE_VALUES = 16
"""Parts and weights of which a merging program reads the sums at once."""


def launch_stem(
    x: Tensor, weight: Tensor, padding: int, views: int, splits: int, statistics: bool
) -> tuple[Tensor, Tensor]:
    """As in ``stem_block``."""
    n, _, h, w = x.shape
    c = len(weight)
    below, across = h + 2 * padding - 2, w + 2 * padding - 2
    out = x.new_empty((n, below, across, c), dtype=torch.bfloat16).permute(0, 3, 1, 2)
    part = stem_tiles(n * below * across, views * splits, c)
    shape = (3, views * splits, part.parts, c) if statistics else (0,)
    partial = x.new_empty(shape, dtype=torch.float32)
    choice = CHOICES["stem"]
    wrap_triton(stem_kernel)[grid(part, views * splits)](
        x,
        weight,
        out,
        partial,
        n // (views * splits) * below * across,
        n // views,
        part.rows_per_part,
        SPLITS=splits,
        HEIGHT=h,
        WIDTH=w,
        PADDING=padding,
        CHANNELS=c,
        STATISTICS=statistics,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    return out, partial


def launch_stem_statistics(
    partial: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    batches: Tensor,
    values: int,
    views: int,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """As in ``stem_block``."""
    _, groups, _, c = partial.shape
    part = stem_tiles(values, groups, c)
    return merge_statistics(
        partial,
        running_mean,
        running_var,
        batches,
        values // groups,
        part.rows_per_part,
        views,
        eps,
        momentum,
    )


def launch_stem_backward(grad: Tensor, x: Tensor, padding: int) -> Tensor:
    """As in ``stem_block``."""
    n, _, h, w = x.shape
    c = grad.shape[1]
    rows = n * grad.shape[2] * grad.shape[3]
    choice = CHOICES["stem_gradient"]
    part = tiles(rows, 1, c, choice, least=LEAST)
    partial = x.new_empty((part.parts, c, 32), dtype=torch.float32)
    wrap_triton(stem_gradient_kernel)[grid(part, 1)](
        grad,
        x,
        partial,
        rows,
        part.rows_per_part,
        HEIGHT=h,
        WIDTH=w,
        PADDING=padding,
        CHANNELS=c,
        ROWS=part.rows,
        COLUMNS=part.columns,
        num_warps=choice.warps,
    )
    found = x.new_empty((c, 3, 3, 3), dtype=torch.float32)
    wrap_triton(merge_stem_gradient_kernel)[(-(-c * 32 // MERGE_VALUES),)](
        partial,
        found,
        part.parts,
        CHANNELS=c,
        PARTS_TILE=MERGE_PARTS,
        VALUES=MERGE_VALUES,
        num_warps=MERGE_WARPS,
    )
    return found.permute(0, 3, 1, 2)  # from y, x and input channel


def stem_tiles(values: int, groups: int, channels: int) -> Tiles:
    """How the output is shared out.

    Args:
        values: of a channel of the output.
        groups: of all views.
        channels: of the output.
    """
    return tiles(values // groups, groups, channels, CHOICES["stem"], least=LEAST)
