"""What the kernels compute, written with torch's own operations: on a CPU, and to compare with.

Every function has the arguments and results of the operation of its name in ``group_block``, and
drops the same units. float64 is computed in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

KEEP_BITS = 24
"""Of the random bits of a unit, those that decide whether it is kept."""

_LOW = 0xFFFFFFFF


def threshold(p: float) -> int:
    """Of 2**24 draws, how many drop a unit; of a ``p`` above 0 at least one, and not all."""
    whole = 1 << KEEP_BITS
    return min(max(round(p * whole), 1), whole - 1) if p > 0.0 else 0


def keep_factor(p: float) -> float:
    """What kept units are multiplied by, exact for ``threshold``."""
    whole = 1 << KEEP_BITS
    return whole / (whole - threshold(p))


def statistics(
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
    variance, mean = torch.var_mean(_grouped(x, views, splits), dim=(1, 4, 5), correction=0)
    count = x.numel() // (views * splits * x.shape[1])
    for view in range(views):
        running_mean.lerp_(mean[view].mean(0).to(running_mean.dtype), momentum)
        unbiased = variance[view].mean(0) * (count / (count - 1))
        running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    batches.add_(views)
    return mean.flatten(0, 1), torch.rsqrt(variance + eps).flatten(0, 1)


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
    """As in ``group_block``."""
    out = _normalised(x, mean, inverse, weight, bias, views)
    if residual is not None:
        out = out + residual.to(out.dtype)
    return _finished(out.relu() if relu else out, x)


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
    """As in ``group_block``."""
    masked = grad.new_empty(0)
    if relu:
        decided = _normalised(x, mean, inverse, weight, bias, views) if out is None else out
        grad = torch.where(decided <= 0, 0, grad)
        if out is not None:
            masked = _finished(grad, x)
    grad_x, gradients = _backward(grad, x, mean, inverse, weight, views)
    return grad_x, masked, gradients


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
    """As in ``group_block``."""
    factor = keep_factor(p)
    cells = _cells(_normalised(x, mean, inverse, weight * factor, bias * factor, views))
    if p > 0.0:
        n, c, h, w = cells.shape[1:]
        # The place of each value in the channels_last output.
        place = torch.arange(n * c * h * w, device=x.device).view(n, h, w, c).permute(0, 3, 1, 2)
        bits = torch.stack(philox(seed, place))
        cells = torch.where(bits >> (32 - KEEP_BITS) >= threshold(p), cells, 0)
    best, winner = cells[0], torch.zeros_like(cells[0], dtype=torch.uint8)
    for number in range(1, 4):
        take = (cells[number] > best) | cells[number].isnan()
        best = torch.where(take, cells[number], best)
        winner = torch.where(take, torch.full_like(winner, number), winner)
    winner = torch.where(best <= 0, torch.full_like(winner, 4), winner)
    kept = winner.clone(memory_format=torch.channels_last) if winners else winner.new_empty(0)
    return _finished(best.relu(), x), kept


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
    """As in ``group_block``."""
    wide = _wide(grad) * keep_factor(p)
    spread = torch.zeros_like(_wide(x))
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    for number in range(4):
        part = torch.where(winner == number, wide, 0)
        spread[:, :, number // 2 : height : 2, number % 2 : width : 2] = part
    return _backward(spread, x, mean, inverse, weight, views)


def philox(seed: Tensor, place: Tensor) -> list[Tensor]:
    """Philox4x32-10 (Salmon et al., SC 2011) with the counters ``place``: Triton's ``randint4x``.

    Args:
        seed: int64 ``(1,)``, the key.
        place: int64, at least 0.

    Returns:
        Four int64 tensors of the shape of ``place``, values in [0, 2**32).
    """
    counters = [place & _LOW, place >> 32 & _LOW, torch.zeros_like(place), torch.zeros_like(place)]
    low, high = seed & _LOW, seed >> 32 & _LOW
    for _ in range(10):
        # A product of 64 bits wraps to a negative one; its bits stay what they are.
        one, two = counters[0] * 0xD2511F53, counters[2] * 0xCD9E8D57
        counters = [
            (two >> 32 & _LOW) ^ counters[1] ^ low,
            two & _LOW,
            (one >> 32 & _LOW) ^ counters[3] ^ high,
            one & _LOW,
        ]
        low, high = low + 0x9E3779B9 & _LOW, high + 0xBB67AE85 & _LOW
    return counters


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _grouped(x: Tensor, views: int, splits: int) -> Tensor:
    """``(V, B / S, S, C, H, W)``, at least float32."""
    return _wide(x).reshape(views, -1, splits, *x.shape[1:])


def _per_value(values: Tensor, images: int, views: int) -> Tensor:
    """``(G, C)`` of the groups to ``(N, C, 1, 1)`` of the images."""
    splits = len(values) // views
    rows = values.view(views, 1, splits, -1).expand(-1, images // len(values), -1, -1)
    return rows.reshape(images, -1, 1, 1)


def _normalised(
    x: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor, bias: Tensor, views: int
) -> Tensor:
    centred = _wide(x) - _per_value(mean, len(x), views)
    return centred * _per_value(inverse * weight, len(x), views) + bias.view(-1, 1, 1)


def _cells(values: Tensor) -> Tensor:
    """``(4, N, C, H // 2, W // 2)``: the pixels of each cell of 2x2."""
    height, width = values.shape[2] // 2 * 2, values.shape[3] // 2 * 2
    values = values[:, :, :height, :width]
    return torch.stack([values[:, :, i::2, j::2] for i in range(2) for j in range(2)])


def _backward(
    grad: Tensor, x: Tensor, mean: Tensor, inverse: Tensor, weight: Tensor, views: int
) -> tuple[Tensor, Tensor]:
    splits = len(mean) // views
    values = (_wide(x) - _per_value(mean, len(x), views)) * _per_value(inverse, len(x), views)
    count = x.numel() // (len(mean) * x.shape[1])
    one = _grouped(grad, views, splits).sum((1, 4, 5)).flatten(0, 1)
    other = _grouped(_wide(grad) * values, views, splits).sum((1, 4, 5)).flatten(0, 1)
    found = _wide(grad) - _per_value(one / count, len(x), views)
    found = found - values * _per_value(other / count, len(x), views)
    found = found * _per_value(inverse * weight, len(x), views)
    return _finished(found, x), torch.stack([one.sum(0), other.sum(0)])


def _finished(values: Tensor, x: Tensor) -> Tensor:
    """A tensor of its own, in the dtype of ``x``, channels_last."""
    return values.to(x.dtype).clone(memory_format=torch.channels_last)
