"""Colour jitter with factors and an order for each image (as torchvision's ``ColorJitter``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.augment.augmentation import between, chosen, column, take
from engine.augment.grayscale import luma
from engine.config.augment.color_jitter import ColorJitterConfig

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Numbers of the operations in ``ColorJitterParams.order`` (as in torchvision's ColorJitter)."""


@dataclass(frozen=True)
class ColorJitterParams:
    """The colour jitter of N images.

    Attributes:
        applied: bool (N,), distort the colours of this image.
        factors: float32 (N, 4), of brightness, contrast, saturation (factors) and hue (turns).
        order: int64 (N, 4), a permutation of the four: which is applied first, second, ...
    """

    applied: Tensor
    factors: Tensor
    order: Tensor


class ColorJitter:
    """Changes brightness, contrast, saturation and hue.

    Args:
        config: the strength of each, and for how many images.
        size: height and width of the images, in pixels.
    """

    numbers = 9
    shared = (slice(24, 25), slice(30, 38))

    def __init__(self, config: ColorJitterConfig, size: int) -> None:
        self.config = config

    def params(self, uniform: Tensor) -> ColorJitterParams:
        """Factors and orders; see ``Augmentation.params``."""
        c, strength = self.config, uniform[:, 1:5]
        factors = [
            between(strength[:, i], 1.0 - s, 1.0 + s)
            for i, s in enumerate((c.brightness, c.contrast, c.saturation))
        ]
        factors.append(between(strength[:, HUE], -c.hue, c.hue))
        return ColorJitterParams(
            applied=chosen(uniform[:, 0], c),
            factors=torch.stack(factors, dim=1),
            # A random permutation. A copy, since Apple's GPUs sort a strided tensor wrongly.
            order=uniform[:, 5:9].contiguous().argsort(dim=1),
        )

    def apply(self, images: Tensor, params: ColorJitterParams, *, dense: bool) -> Tensor:
        """The jittered images; see ``Photometry.apply``.

        Each image has an order of its own, of 24. Brightness, contrast and saturation are blends of
        one form, so the batch takes three blends before the hue and three after it: blend ``slot``
        (0, 1, 2) comes before the hue in images where ``hue_place`` is above ``slot``, and after it
        in the others, and is whichever of the three is next in the image's order.
        """
        hue_place = (params.order == HUE).to(torch.uint8).argmax(dim=1)  # (N,) in 0..3
        if dense:
            return self._apply_to_all(images, params, hue_place)
        # Sorted by the place of the hue, the images that a blend changes before it (or after it)
        # are one slice, a view that is written in place without further gathering.
        rows = params.applied.nonzero().squeeze(1)
        rows = rows[hue_place[rows].argsort()]
        jittered = self._apply_sorted(images[rows], take(params, rows), hue_place[rows])
        return images.index_copy_(0, rows, jittered)

    @property
    def _blends(self) -> bool:
        """Whether any blend can change an image."""
        return max(self.config.brightness, self.config.contrast, self.config.saturation) > 0.0

    def _apply_to_all(self, x: Tensor, params: ColorJitterParams, hue_place: Tensor) -> Tensor:
        if self._blends:
            for slot in range(3):
                x = _blend(x, params, hue_place, slot, params.applied & (hue_place > slot))
        if self.config.hue > 0.0:
            shifted = _shift_hue(x, params.factors[:, HUE])
            x = torch.where(column(params.applied, 4), shifted, x)
        if self._blends:
            for slot in range(3):
                x = _blend(x, params, hue_place, slot, params.applied & (hue_place <= slot))
        return x

    def _apply_sorted(self, x: Tensor, params: ColorJitterParams, hue_place: Tensor) -> Tensor:
        """The jitter of images that all get it, sorted by ``hue_place``; ``x`` is written to."""
        # Up to ends[slot] the hue comes at place ``slot`` or earlier, behind that later.
        ends = torch.bincount(hue_place, minlength=4).cumsum(0).tolist()
        everything = torch.ones_like(params.applied)

        def blend(rows: slice, slot: int) -> None:
            part = take(params, rows)
            _blend(x[rows], part, hue_place[rows], slot, everything[rows])

        if self._blends:
            for slot in range(3):
                blend(slice(ends[slot], None), slot)
        if self.config.hue > 0.0:
            x = _shift_hue(x, params.factors[:, HUE])
        if self._blends:
            for slot in range(3):
                blend(slice(0, ends[slot]), slot)
        return x


def _blend(
    x: Tensor, params: ColorJitterParams, hue_place: Tensor, slot: int, active: Tensor
) -> Tensor:
    """The ``slot``-th of brightness, contrast and saturation, in place, where ``active``.

    All three are ``clamp(factor * x + (1 - factor) * reference)`` with black, the mean of the
    gray image, and the gray image as the reference. An inactive image keeps its value exactly.

    Args:
        x: float32 (N, 3, H, W); written to.
        params: of these images.
        hue_place: int64 (N,) in 0..3, the place of the hue in the order of four.
        slot: 0, 1 or 2.
        active: bool (N,).
    """
    # Place of the blend in the order of four, where the hue takes one place.
    place = slot + (hue_place <= slot).to(torch.int64)
    kind = params.order.gather(1, place.unsqueeze(1))  # (N, 1), one of BRIGHTNESS ... SATURATION
    factor = params.factors.gather(1, kind).squeeze(1)
    kind = kind.squeeze(1)
    factor = torch.where(active, factor, 1.0)
    rest = 1.0 - factor
    gray = luma(x)
    mean = gray.mean(dim=(2, 3), keepdim=True)
    reference = gray.mul_(column(rest * (kind == SATURATION), 4))
    reference.add_(mean * column(rest * (kind == CONTRAST), 4))
    return x.mul_(column(factor, 4)).add_(reference).clamp_(0.0, 1.0)


def _shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Hue shifted by a share of the colour circle for each image; a new tensor.

    With the hue in sextants, each channel is the value less the chroma times a trapezoid around
    the circle: the same function as the way over HSV and back, without its table.
    """
    r, g, b = x[:, 0], x[:, 1], x[:, 2]
    value = torch.maximum(torch.maximum(r, g), b)
    chroma = value - torch.minimum(torch.minimum(r, g), b)
    # Without chroma the hue is weighted by 0 below, so any finite value will do.
    scale = chroma.clamp(min=1e-12).reciprocal_()
    hue = torch.where(
        value == r,
        (g - b) * scale,
        torch.where(value == g, (b - r) * scale + 2.0, (r - g) * scale + 4.0),
    )
    hue.add_(column(turns * 6.0, 3))
    channels = []
    # Where red, green and blue are lowest: cyan, magenta, yellow, in sextants.
    for centre in (3.0, 5.0, 1.0):
        away = (hue - centre).mul_(1.0 / 6.0)
        away.sub_(away.round()).abs_()  # distance on the circle in turns, in [0, 0.5]
        weight = away.mul_(-6.0).add_(2.0).clamp_(0.0, 1.0)
        channels.append(torch.addcmul(value, chroma, weight, value=-1.0))
    return torch.stack(channels, dim=1)
