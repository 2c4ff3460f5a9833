"""Dropout that costs little on a CPU.

torch draws a CPU mask by one call of a serial generator for every unit, which is half of a float32
training step of the notebook's ConvNet. Here eight units share one 64-bit number, and units are
dropped by a bitwise AND.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Dropout(nn.Module):
    """Drops each unit on its own with probability ``p`` and divides the rest by ``1 - p``.

    As nn.Dropout (Srivastava et al., JMLR 15, 2014), in every format and dtype. On a CPU the
    probability is the multiple of 1/256 (of 1/65536 where that is more than 2 % off) next to ``p``
    and the divisor is exact for it, so the mean of a unit is kept; elsewhere it is ``p``. Its
    random bits come from ``generator`` on a CPU, or from torch's default generator.

    Args:
        p: probability in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"The dropout probability is {p}; it must be in [0, 1).")
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` in eval mode or with ``p`` = 0, else a new tensor of its shape and format."""
        if not self.training or self.p == 0.0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        dropped: Tensor = _BitDropout.apply(x, self.p, self.generator)
        return dropped

    def extra_repr(self) -> str:
        """What ``print`` shows of the layer."""
        return f"p={self.p}"


def keep_share(p: float) -> tuple[int, int]:
    """How dropout with probability ``p`` in (0, 1) is rounded.

    Returns:
        Random bits for each unit, 8 or 16, and in how many of their ``2 ** bits`` values the unit
        is kept: at least one, and not all.
    """
    for bits in (8, 16):
        size = 1 << bits
        dropped = min(max(round(p * size), 1), size - 1)
        if abs(dropped / size - p) <= 0.02 * min(p, 1.0 - p):
            break
    return bits, size - dropped


class _BitDropout(torch.autograd.Function):
    """Dropout by a mask of all-zero and all-one words, ``apply(x, p, generator)``.

    Of the mask, one or two bytes a unit are kept for the gradient, and the gradient takes the same
    AND and the same factor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
        # Any dense format: the mask gets the strides of x, so both are walked as one flat array.
        out = torch.empty_like(x)  # keeps the format of x, and makes a sparse one dense
        bits, kept = keep_share(p)
        numbers = torch.empty(-(-x.numel() * bits // 64), dtype=torch.int64)
        numbers.random_(-(2**63), None, generator=generator)  # all 64 bits, the sign too
        draws = numbers.view(torch.int8 if bits == 8 else torch.int16)[: x.numel()]
        # Signed values below the threshold are kept; 1 becomes -1, all bits set.
        mask = draws.lt_(kept - (1 << (bits - 1))).neg_().as_strided(out.shape, out.stride())
        ctx.save_for_backward(mask)
        ctx.scale = (1 << bits) / kept
        word = _WORDS[x.element_size()]
        torch.bitwise_and(x.view(word), mask.to(word), out=out.view(word))
        return out.mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        word = _WORDS[grads[0].element_size()]
        kept = grads[0].view(word) & mask.to(word)
        return kept.view(grads[0].dtype).mul_(ctx.scale), None, None
