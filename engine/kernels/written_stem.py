"""What the kernels of the first convolution compute, by torch's own operations: on a CPU.

Every function has the arguments and results of the operation of its name in ``stem_block``; each
group is one part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def stem(
    x: Tensor, weight: Tensor, padding: int, views: int, splits: int, statistics: bool
) -> tuple[Tensor, Tensor]:
    """As in ``stem_block``."""
    out = F.conv2d(x.bfloat16(), weight.bfloat16(), padding=padding)
    out = out.contiguous(memory_format=torch.channels_last)
    if not statistics:
        return out, x.new_empty(0, dtype=torch.float32)
    grouped = out.float().reshape(views, -1, splits, *out.shape[1:])
    variance, mean = torch.var_mean(grouped, dim=(1, 4, 5), correction=0)
    rows = out[:, 0].numel() // (views * splits)
    partial = torch.stack([mean, torch.zeros_like(mean), variance * rows])
    return out, partial.flatten(1, 2).unsqueeze(2)


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
    """As in ``stem_block``."""
    shift, local, squares = partial[:, :, 0]
    rows = values // partial.shape[1]
    mean = shift + local
    for means, totals in zip(mean.chunk(views), squares.chunk(views), strict=True):
        running_mean.lerp_(means.mean(0), momentum)
        running_var.lerp_((totals / (rows - 1)).mean(0), momentum)
    batches.add_(views)
    return mean, torch.rsqrt(squares / rows + eps)


def stem_backward(grad: Tensor, x: Tensor, padding: int) -> Tensor:
    """As in ``stem_block``; summed in float32."""
    wide = x.bfloat16().float()
    weight = wide.new_empty((grad.shape[1], 3, 3, 3))
    ones, around = [1, 1], [padding, padding]
    found: Tensor = torch.ops.aten.convolution_backward(
        grad.float(), wide, weight, None, ones, around, ones, False, [0, 0], 1, [False, True, False]
    )[1]
    return found.contiguous(memory_format=torch.channels_last)
