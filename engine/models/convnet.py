"""The notebook's ConvNet: three blocks; of 32x32 images it makes 512 features."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config.data.data_set import SIZE
from engine.config.models.convnet import CHANNELS, feature_width, last_side
from engine.config.schema import ModelConfig
from engine.models.dropout import Dropout
from engine.models.split_batchnorm import SplitBatchNorm2d


class MaxPool2d(nn.MaxPool2d):
    """Pooling over squares of 2x2 pixels; bit by bit what torch's own gives.

    torch also writes down where each maximum was, as int64, for a gradient. Where there will be
    none, a CPU takes two maxima instead: 2 to 3 times as fast in channels_last, 10 times in the
    default format (measured).
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, H // 2, W // 2)``."""
        if x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
            return F.max_pool2d(x, 2)
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2  # an odd last row is left out
        rows = torch.maximum(x[:, :, 0:height:2], x[:, :, 1:height:2])
        return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


class ConvNet(nn.Sequential):
    """The notebook's backbone: ``(N, 3, 32, 32)`` to ``(N, 512)`` in three blocks.

    Of larger images all places of the last block, 128 channels each, are features, or averages over
    squares of them that lie evenly, and overlap where they must.

    A block is convolution 3x3 (no padding, no bias), BatchNorm, dropout, 2x2 max pooling, ReLU.
    The notebook had ReLU before dropout. ReLU is monotonic and leaves 0 at 0, so it may come last
    with the same output and gradient, on a quarter of the values.

    Args:
        dropout: probability that a unit is dropped.
        bn_splits: groups of a batch that BatchNorm normalises apart.
        size: height and width of the images, in pixels.
        feature_side: height and width to which the last block is averaged; 0: it is not.

    Attributes:
        feature_dim: width of the features.
    """

    def __init__(
        self, dropout: float, bn_splits: int, size: int = SIZE, feature_side: int = 0
    ) -> None:
        layers: list[nn.Module] = []
        # Height and width: 32 -> 30 -> 15 -> 13 -> 6 -> 4 -> 2
        for inputs, outputs in pairwise((3, *CHANNELS)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, bias=False),  # BatchNorm would subtract a bias
                SplitBatchNorm2d(outputs, bn_splits),
                Dropout(dropout),
                MaxPool2d(),
                nn.ReLU(inplace=True),
            ]
        side = last_side(size)
        if 0 < feature_side < side:
            stride = side // feature_side
            # Not AdaptiveAvgPool2d, which has no deterministic gradient on CUDA.
            layers.append(nn.AvgPool2d(side - (feature_side - 1) * stride, stride))
        super().__init__(*layers, nn.Flatten())
        self.feature_dim = feature_width(size, feature_side)


def build(config: ModelConfig, size: int = SIZE) -> ConvNet:
    """The ConvNet that a configuration describes, initialised from torch's default generator."""
    return ConvNet(config.dropout, config.bn_splits, size, config.feature_side)
