"""Convolutions 3x3 with stride 1 and without padding, in bfloat16, by products of pairs.

Products are summed in float32. For small images: oneDNN takes up to twice the time of the weights'
gradient, and a third more where an image has three channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.native.library import call, level_number

_OUTPUTS = 32  # of convolution.h
MOST_WIDTH = 15
"""Of an image whose gradient ``convolve_backward`` makes."""


def convolve(x: Tensor, weight: Tensor, out: Tensor, level: str) -> None:
    """``out`` becomes ``conv2d(x, weight)``.

    Args:
        x: bfloat16 ``(N, C, H, W)``, channels_last, H and W at least 3.
        weight: bfloat16 ``(O, C, 3, 3)``, channels_last.
        out: bfloat16 ``(N, O, H - 2, W - 2)``, channels_last.
        level: of the kernels, one that multiplies pairs.
    """
    n, c, h, w = x.shape
    pointers = x.data_ptr(), weight.data_ptr(), out.data_ptr()
    call("convolve", level_number(level), *pointers, n, h, w, c, len(weight))


def convolve_backward(grad: Tensor, weight: Tensor, out: Tensor, level: str) -> None:
    """``out`` becomes the gradient of ``convolve`` towards its ``x``.

    Args:
        grad: bfloat16 ``(N, O, H - 2, W - 2)``, channels_last, O at least 2.
        weight: bfloat16 ``(O, C, 3, 3)``, channels_last.
        out: bfloat16 ``(N, C, H, W)``, channels_last, H at least 3, W 3 to ``MOST_WIDTH``.
        level: as in ``convolve``.
    """
    n, c, h, w = out.shape
    pointers = grad.data_ptr(), weight.data_ptr(), out.data_ptr()
    call("convolve_backward", level_number(level), *pointers, n, h, w, c, len(weight))


class WeightGradient:
    """The gradient of ``convolve`` towards its weight, summed in float32 over many calls.

    Args:
        inputs: channels, at least 1.
        outputs: channels, at least 1.
        level: as in ``convolve``.
    """

    def __init__(self, inputs: int, outputs: int, level: str) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.level = level_number(level)
        block = 3 if inputs % 4 and inputs % 3 == 0 else 4
        padded = -(-inputs // block) * block, -(-outputs // _OUTPUTS) * _OUTPUTS
        self._sums = torch.zeros(9 * padded[0] * padded[1])

    def add(self, x: Tensor, grad: Tensor) -> None:
        """Adds the gradient of one call.

        Args:
            x: bfloat16 ``(N, C, H, W)``, channels_last.
            grad: bfloat16 ``(N, O, H - 2, W - 2)``, channels_last.
        """
        n, c, h, w = x.shape
        pointers = x.data_ptr(), grad.data_ptr(), self._sums.data_ptr()
        call("add_gradient", self.level, *pointers, n, h, w, c, self.outputs)

    def take(self) -> Tensor:
        """The sum, float32 ``(O, C, 3, 3)``, channels_last; from then on it is zero."""
        out = torch.empty((self.outputs, self.inputs, 3, 3), memory_format=torch.channels_last)
        pointers = self._sums.data_ptr(), out.data_ptr()
        call("take_gradient", self.level, *pointers, self.inputs, self.outputs)
        self._sums.zero_()
        return out
