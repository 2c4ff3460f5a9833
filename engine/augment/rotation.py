"""Rotation by a random angle (as torchvision's ``rotate``), part of the bilinear sampling."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.augment.augmentation import SourceGrid, between, chosen, column
from engine.config.augment.rotation import RotationConfig


@dataclass(frozen=True)
class RotationParams:
    """The angles of N images.

    Attributes:
        angle: float32 (N,), degrees, counter-clockwise; 0 where no rotation was drawn.
    """

    angle: Tensor


class Rotation:
    """Rotates about the centre; what comes in from outside is black.

    Args:
        config: the largest angle, and for how many images.
        size: height and width of the result, in pixels.
    """

    numbers = 2
    shared = (slice(21, 22), slice(28, 29))
    resizes = False

    def __init__(self, config: RotationConfig, size: int) -> None:
        self.config = config

    def params(self, uniform: Tensor) -> RotationParams:
        """The angles; see ``Augmentation.params``."""
        angle = between(uniform[:, 1], -self.config.degrees, self.config.degrees)
        return RotationParams(angle * chosen(uniform[:, 0], self.config))

    def to_input(self, grid: SourceGrid, params: RotationParams) -> None:
        """From the rotated frame to the upright one; see ``Geometry.to_input``."""
        centre_x, centre_y = (grid.width - 1) / 2, (grid.height - 1) / 2
        radians = column(params.angle, 3).deg2rad()
        cos, sin = radians.cos(), radians.sin()
        x, y = grid.x - centre_x, grid.y - centre_y
        # The result's pixels turned back. y points down, so this turns the image counter-clockwise.
        x, y = cos * x - sin * y, sin * x + cos * y
        inside = _inside(x, grid.width).mul_(_inside(y, grid.height))
        # Squared, since torchvision weights pixels at the edge twice: it samples the image and a
        # mask of ones with zeros outside, then multiplies one by the other.
        weight = inside.square_()
        grid.weight = weight if grid.weight is None else grid.weight * weight
        grid.x, grid.y = x.add_(centre_x), y.add_(centre_y)


def _inside(offset: Tensor, length: int) -> Tensor:
    """Share of a bilinear sample, at an offset from the centre, that lies in ``length`` pixels.

    1 up to the centres of the outermost pixels, then falling to 0 within a pixel.
    """
    return ((length + 1) / 2 - offset.abs()).clamp_(0.0, 1.0)
