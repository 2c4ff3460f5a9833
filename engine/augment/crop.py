"""Random resized crop (as torchvision's ``RandomResizedCrop``), part of the bilinear sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.augment.augmentation import SourceGrid, between, chosen, column
from engine.config.augment.crop import CropConfig

TRIES = 10
"""Candidates for a crop before the central fallback (as in torchvision's RandomResizedCrop)."""

Boxes = tuple[Tensor, Tensor, Tensor, Tensor]
"""Top, left, height and width of N crops: float32 (N,) each, whole numbers of pixels."""


@dataclass(frozen=True)
class CropParams:
    """The candidates for the crops of N images, as shares of an image whose size is not yet known.

    Attributes:
        applied: bool (N,), crop this image.
        area: float32 (N, 10), area of each candidate as a share of the image's.
        ratio: float32 (N, 10), width / height of each candidate.
        top: float32 (N,) in [0, 1), where between the top and the bottom.
        left: float32 (N,) in [0, 1), where between left and right.
    """

    applied: Tensor
    area: Tensor
    ratio: Tensor
    top: Tensor
    left: Tensor


class Crop:
    """Crops a random part and resizes it.

    Args:
        config: the range of its area and of its shape, and for how many images.
        size: height and width of the result, in pixels.
    """

    numbers = 2 * TRIES + 3
    shared = (slice(0, 20), slice(20, 21), slice(26, 28))
    resizes = True

    def __init__(self, config: CropConfig, size: int) -> None:
        self.config = config

    def params(self, uniform: Tensor) -> CropParams:
        """Candidates for a crop, and where it lies; see ``Augmentation.params``."""
        c = self.config
        # Uniform in the logarithm, as in torchvision: 2 / 3 is as likely as 3 / 2.
        ratio = between(uniform[:, TRIES : 2 * TRIES], math.log(c.ratio_min), math.log(c.ratio_max))
        return CropParams(
            applied=chosen(uniform[:, 2 * TRIES], c),
            area=between(uniform[:, :TRIES], c.scale_min, c.scale_max),
            ratio=ratio.exp(),
            top=uniform[:, 2 * TRIES + 1],
            left=uniform[:, 2 * TRIES + 2],
        )

    def boxes(self, params: CropParams, height: int, width: int) -> Boxes:
        """The crops in images of ``height`` x ``width`` pixels; the whole where none was drawn.

        The distribution is that of torchvision's ``RandomResizedCrop.get_params``: the first of
        ten candidates that fits, else the largest central crop within the ratios.
        """
        root = (params.area * float(height * width)).sqrt()
        stretch = params.ratio.sqrt()
        w, h = (root * stretch).round(), (root / stretch).round()  # (N, 10)
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)  # 0 where none fits
        found = fits.gather(1, first).squeeze(1)
        w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)
        # The minimum, since a number just below 1 times the count may be rounded up to the count.
        top = (params.top * (height - h + 1)).floor().minimum(height - h)
        left = (params.left * (width - w + 1)).floor().minimum(width - w)

        fallback = central_box(height, width, self.config.ratio_min, self.config.ratio_max)
        whole = (0, 0, height, width)
        boxes = []
        for box, central, full in zip((top, left, h, w), fallback, whole, strict=True):
            box = torch.where(found, box, float(central))
            boxes.append(torch.where(params.applied, box, float(full)))
        return boxes[0], boxes[1], boxes[2], boxes[3]

    def to_input(self, grid: SourceGrid, params: CropParams) -> None:
        """From the resized crop to the image; see ``Geometry.to_input``."""
        boxes = self.boxes(params, grid.image_height, grid.image_width)
        top, left, h, w = (column(box, 3) for box in boxes)
        x, y, size = grid.x, grid.y, grid.size
        # Clamped to the crop, so that pixels beside it have no part in the interpolation at its
        # edge: torchvision cuts the crop out before it resizes it.
        grid.x = ((x + 0.5) * (w / size) + (left - 0.5)).clamp(left, left + (w - 1))
        grid.y = ((y + 0.5) * (h / size) + (top - 0.5)).clamp(top, top + (h - 1))
        grid.height, grid.width = grid.image_height, grid.image_width


def central_box(
    height: int, width: int, ratio_min: float, ratio_max: float
) -> tuple[int, int, int, int]:
    """The largest central crop within the ratios: top, left, height, width."""
    h, w = height, width
    if width / height < ratio_min:
        h = round(width / ratio_min)
    elif width / height > ratio_max:
        w = round(height * ratio_max)
    h, w = max(h, 1), max(w, 1)
    return (height - h) // 2, (width - w) // 2, h, w
