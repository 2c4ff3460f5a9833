"""Grayscale with torchvision's weights (ITU-R BT.601 luma), in three equal channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.augment.augmentation import chosen, column
from engine.config.augment.grayscale import GrayscaleConfig

_LUMA = (0.2989, 0.587, 0.114)  # red, green, blue; the digits of torchvision's rgb_to_grayscale


@dataclass(frozen=True)
class GrayscaleParams:
    """Which of N images lose their colour.

    Attributes:
        applied: bool (N,), drop the colour.
    """

    applied: Tensor


class Grayscale:
    """Drops the colour.

    Args:
        config: for how many images.
        size: height and width of the images, in pixels.
    """

    numbers = 1
    shared = (slice(25, 26),)

    def __init__(self, config: GrayscaleConfig, size: int) -> None:
        self.config = config

    def params(self, uniform: Tensor) -> GrayscaleParams:
        """Which images; see ``Augmentation.params``."""
        return GrayscaleParams(chosen(uniform[:, 0], self.config))

    def apply(self, images: Tensor, params: GrayscaleParams, *, dense: bool) -> Tensor:
        """The images, gray where that was drawn; see ``Photometry.apply``."""
        if dense:
            return torch.where(column(params.applied, 4), luma(images), images)
        rows = params.applied.nonzero().squeeze(1)
        return images.index_copy_(0, rows, luma(images[rows]).expand(-1, 3, -1, -1))


def luma(images: Tensor) -> Tensor:
    """The gray images (N, 1, H, W) of (N, 3, H, W)."""
    r, g, b = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return r.mul(_LUMA[0]).add_(g, alpha=_LUMA[1]).add_(b, alpha=_LUMA[2])
