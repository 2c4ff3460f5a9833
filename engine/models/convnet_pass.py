"""The ``ConvNet`` forward and backward on a CPU, written out, one BatchNorm group at a time.

The layers of a group of 64 images take a tenth of a millisecond to a few. At that size autograd,
the calls of modules and the memory of every tensor are a seventh of a step; here they are calls of
kernels (``engine.native``) in memory that stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.convnet import ConvNet
from engine.models.dropout import Dropout, keep_share
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.block import KEEP_ALL
from engine.native.convolution import MOST_WIDTH, WeightGradient, convolve, convolve_backward
from engine.native.library import PAIR_PRODUCTS, call, level_number


class Room:
    """Memory by name, which stays between calls. Of one thread at a time."""

    def __init__(self) -> None:
        self._tensors: dict[tuple[str, torch.dtype], Tensor] = {}

    def images(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """``(N, C, H, W)``, channels_last, with whatever values."""
        found = self._tensors.get((name, dtype))
        if found is None or found.shape != shape:
            found = torch.empty(tuple(shape), dtype=dtype, memory_format=torch.channels_last)
            self._tensors[name, dtype] = found
        return found


class ConvNetPass:
    """Computes what a ``ConvNet`` does in training, and its gradient, for one group at a time.

    Features, gradients and statistics agree with those of torch's operations up to rounding.
    Dropout draws others of the same distribution. Parameters are those of the net, whatever they
    are at the time; its running statistics stay.

    Args:
        net: whose convolutions have ``dtype`` and are channels_last; ``can_fuse`` holds for it.
        level: of the kernels.
        dtype: of images and convolutions, float32 or bfloat16.
        room: for what a call leaves for the next; several nets of one thread can share it, while
            ``backward`` follows its ``forward`` without another between.

    Attributes:
        blocks: of convolution, BatchNorm, dropout, pooling and ReLU.
        places: how many of them, and how many seeds of dropout a group takes.
        channels: of the output of each.
    """

    def __init__(self, net: ConvNet, level: str, dtype: torch.dtype, room: Room) -> None:
        self.dtype, self._room = dtype, room
        parts = list(net)
        pairs = level if level == PAIR_PRODUCTS and dtype == torch.bfloat16 else None
        self.blocks: list[_ConvBlock] = []
        for place, (convolution, norm, dropout) in enumerate(
            zip(parts[0::5], parts[1::5], parts[2::5], strict=False)
        ):
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, SplitBatchNorm2d)
            assert isinstance(dropout, Dropout)
            convolve_by = _Convolution(convolution, f"{place}", room, pairs)
            self.blocks.append(
                _ConvBlock(convolve_by, norm, dropout, level_number(level), f"{place}", room)
            )
        self._average = next((part for part in parts if isinstance(part, nn.AvgPool2d)), None)
        self.places = len(self.blocks)
        self.channels = [block.norm.num_features for block in self.blocks]

    def forward(self, images: Tensor, seeds: Sequence[int], statistics: Tensor) -> Tensor:
        """Features ``(N, D)`` of the images of a group, in the dtype of the convolutions.

        Args:
            images: ``(N, 3, H, W)``.
            seeds: of dropout, ``places`` of 0 to 2**63 - 1; none for a pass without a gradient and
                without dropout.
            statistics: float32 ``(2, sum of channels)``, contiguous, is overwritten by the means
                and the unbiased variances of all layers.
        """
        # Of every n-th image of a batch, to() alone would keep the gaps; kernels see none.
        x = images.to(self.dtype).contiguous(memory_format=torch.channels_last)
        at, size = statistics.data_ptr(), statistics.shape[1]
        given: Sequence[int | None] = seeds or [None] * self.places
        for block, seed in zip(self.blocks, given, strict=True):
            x = block.forward(x, seed, at, at + 4 * size)
            at += 4 * block.norm.num_features
        return x.flatten(1) if self._average is None else self._average(x).flatten(1)

    def backward(self, grad: Tensor) -> None:
        """Adds the gradients towards the parameters, of the last ``forward`` (with seeds).

        Args:
            grad: float32 ``(N, D)``, towards the features.
        """
        last = self.blocks[-1]
        towards = self._room.images("grad of features", last.pooled.shape, self.dtype)
        towards.copy_(self._towards_places(grad, last.pooled.shape))
        for number, block in reversed(list(enumerate(self.blocks))):
            towards = block.backward(towards, wanted=number > 0)

    def _towards_places(self, grad: Tensor, shape: Sequence[int]) -> Tensor:
        """The gradient towards the output of the last block, of that shape, float32."""
        if self._average is None:
            return grad.view(shape)
        n, c = shape[:2]
        side = math.isqrt(grad.shape[1] // c)
        kernel, stride = self._average.kernel_size, self._average.stride
        spread: Tensor = torch.ops.aten.avg_pool2d_backward(
            grad.view(n, c, side, side),
            grad.new_empty(shape),
            [kernel, kernel],
            [stride, stride],
            [0, 0],
            False,
            True,
            None,
        )
        return spread

    def take_gradients(self) -> list[Tensor]:
        """Sums of the gradients since the last call, float32, in the order of ``parameters``."""
        return [gradient for block in self.blocks for gradient in block.take_gradients()]


class _Convolution:
    """3x3, without padding: by the kernels where ``pairs`` is their level, else by torch."""

    def __init__(self, layer: nn.Conv2d, name: str, room: Room, pairs: str | None) -> None:
        self._layer, self._name, self._room, self._pairs = layer, name, room, pairs
        self._sum: Tensor | None = None
        self._pair_sum: WeightGradient | None = None
        if pairs is not None:
            self._pair_sum = WeightGradient(layer.in_channels, layer.out_channels, pairs)

    def forward(self, x: Tensor) -> Tensor:
        weight = self._layer.weight
        if self._pairs is None:
            return F.conv2d(x, weight).contiguous(memory_format=torch.channels_last)
        n, _, h, w = x.shape
        shape = (n, len(weight), h - 2, w - 2)
        out = self._room.images(f"convolution {self._name}", shape, x.dtype)
        convolve(x, weight, out, self._pairs)
        return out

    def backward(self, x: Tensor, grad: Tensor, *, wanted: bool) -> Tensor:
        """The gradient towards ``x``, where wanted; that of the weight is added."""
        weight = self._layer.weight
        own = self._pairs is not None and (x.shape[3] <= MOST_WIDTH or not wanted)
        towards_x = grad
        if self._pair_sum is not None:
            self._pair_sum.add(x, grad)
        if own and wanted:
            assert self._pairs is not None
            towards_x = self._room.images(f"grad of input {self._name}", x.shape, x.dtype)
            convolve_backward(grad, weight, towards_x, self._pairs)
        elif not own:
            mask = [wanted, self._pair_sum is None, False]
            towards_x, of_weight, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask
            )
            if self._pair_sum is None:
                if self._sum is None:
                    self._sum = torch.zeros_like(of_weight, dtype=torch.float32)
                self._sum.add_(of_weight)
        return towards_x

    def take_gradient(self) -> Tensor:
        if self._pair_sum is not None:
            return self._pair_sum.take()
        taken, self._sum = self._sum, None
        assert taken is not None
        return taken


class _ConvBlock:
    """Convolution, BatchNorm, dropout, 2x2 max pooling and ReLU."""

    def __init__(
        self,
        convolution: _Convolution,
        norm: SplitBatchNorm2d,
        dropout: Dropout,
        level: int,
        name: str,
        room: Room,
    ) -> None:
        self.convolution, self.norm, self.dropout = convolution, norm, dropout
        self._level, self._name, self._room = level, name, room
        c = norm.num_features
        self._saved = torch.empty(2, c)  # mean, 1 / standard deviation
        self._gradient, self._gradients = torch.empty(2, c), torch.zeros(2, c)
        self.x = self.convolved = self.pooled = self.winner = self._saved  # of the last forward
        self._factor, self._mean = 1.0, 0

    def forward(self, x: Tensor, seed: int | None, mean: int, variance: int) -> Tensor:
        """Mean and variance go to those addresses; without a seed there is no backward."""
        norm, keep = self.norm, KEEP_ALL
        if self.dropout.training and self.dropout.p > 0.0:
            assert seed is not None
            keep = keep_share(self.dropout.p)[1]
        self.x, self.convolved = x, self.convolution.forward(x)
        n, c, h, w = self.convolved.shape
        shape = (n, c, h // 2, w // 2)
        self.pooled = self._room.images(f"pooled {self._name}", shape, x.dtype)
        if seed is not None:
            self.winner = self._room.images(f"winner {self._name}", shape, torch.uint8)
        self._factor = KEEP_ALL / keep
        saved = self._saved.data_ptr()
        call(
            "pooled",
            self._level,
            x.dtype == torch.float32,
            self.convolved.data_ptr(),
            norm.weight.data_ptr(),
            norm.bias.data_ptr(),
            norm.eps,
            self.pooled.data_ptr(),
            None if seed is None else self.winner.data_ptr(),
            mean,
            saved + 4 * c,
            variance,
            n,
            h,
            w,
            c,
            keep,
            seed or 0,
        )
        self._mean = mean
        return self.pooled

    def backward(self, grad: Tensor, *, wanted: bool) -> Tensor:
        """The gradient towards the input, where wanted, from that of the output."""
        n, c, h, w = self.convolved.shape
        towards = self._room.images(f"grad of block {self._name}", (n, c, h, w), grad.dtype)
        gradient = self._gradient.data_ptr()
        call(
            "backward_pooled",
            self._level,
            grad.dtype == torch.float32,
            grad.data_ptr(),
            self.convolved.data_ptr(),
            self.winner.data_ptr(),
            self.norm.weight.data_ptr(),
            self._mean,
            self._saved.data_ptr() + 4 * c,
            self._factor,
            towards.data_ptr(),
            gradient,
            gradient + 4 * c,
            n,
            h,
            w,
            c,
        )
        self._gradients += self._gradient
        return self.convolution.backward(self.x, towards, wanted=wanted)

    def take_gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of the convolution, of weight and of bias."""
        taken, self._gradients = self._gradients, torch.zeros_like(self._gradients)
        return self.convolution.take_gradient(), taken[0], taken[1]
