"""Horizontal flip, part of the bilinear sampling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.augment.augmentation import SourceGrid, chosen, column
from engine.config.augment.flip import FlipConfig


@dataclass(frozen=True)
class FlipParams:
    """Which of N images are mirrored.

    Attributes:
        applied: bool (N,), mirror left and right.
    """

    applied: Tensor


class Flip:
    """Mirrors left and right.

    Args:
        config: for how many images.
        size: height and width of the result, in pixels.
    """

    numbers = 1
    shared = (slice(22, 23),)
    resizes = False

    def __init__(self, config: FlipConfig, size: int) -> None:
        self.config = config

    def params(self, uniform: Tensor) -> FlipParams:
        """Which images; see ``Augmentation.params``."""
        return FlipParams(chosen(uniform[:, 0], self.config))

    def to_input(self, grid: SourceGrid, params: FlipParams) -> None:
        """From the mirrored frame to the frame; see ``Geometry.to_input``."""
        grid.x = torch.where(column(params.applied, 3), (grid.width - 1) - grid.x, grid.x)
