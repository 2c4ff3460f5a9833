"""Batched random augmentations, drawn anew for every image.

Drawing is apart from applying: a ``Draw`` holds the parameters of every image, can be replayed,
moved and sliced, and says nothing about the images. Crop, resize, rotation and flip compose into
one bilinear sampling; blur, colour and gray follow in the order of the configuration.

Two ways of applying give the same result: by subsets (an operation touches only the images that
it was drawn for; fast on a CPU) and dense (every image goes through every operation and keeps its
value where it was not drawn; no host synchronisation, so it suits CUDA and graph capture).

The operations follow ``torchvision.transforms.v2.functional`` on float tensors, one set of
parameters for each image where torchvision has one for the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config.schema import AugmentConfig
from engine.errors import ConfigError

CROP_TRIES = 10
"""Candidates for a crop before the central fallback (as in torchvision's RandomResizedCrop)."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Numbers of the colour operations in ``Draw.order`` (as in torchvision's ColorJitter)."""

_GEOMETRY = ("crop", "rotation", "flip")
_LUMA = (0.2989, 0.587, 0.114)
_COLUMNS = 2 * CROP_TRIES + 6 + 4 + 4 + 4
_CPU_CHUNK = 64  # images; the tensors of a chunk (0.8 MB each) stay in the cache


@dataclass(frozen=True)
class Draw:
    """The parameters of N images and one view. Every tensor has N rows, on one device.

    The crop is kept as drawn, in shares of an image whose size is not yet known; ``crop_boxes``
    makes pixels of it.

    Attributes:
        crop: bool (N,), crop this image.
        crop_area: float32 (N, 10), area of each candidate as a share of the image's.
        crop_ratio: float32 (N, 10), width / height of each candidate.
        crop_top: float32 (N,) in [0, 1), where between the top and the bottom.
        crop_left: float32 (N,) in [0, 1), where between left and right.
        angle: float32 (N,), degrees, counter-clockwise; 0 where no rotation was drawn.
        flip: bool (N,), mirror left and right.
        blur: bool (N,), blur this image.
        sigma: float32 (N,), of the blur, in pixels.
        color_jitter: bool (N,), distort the colours of this image.
        factors: float32 (N, 4), of brightness, contrast, saturation (factors) and hue (turns).
        order: int64 (N, 4), a permutation of the four: which is applied first, second, ...
        grayscale: bool (N,), drop the colour.
    """

    crop: Tensor
    crop_area: Tensor
    crop_ratio: Tensor
    crop_top: Tensor
    crop_left: Tensor
    angle: Tensor
    flip: Tensor
    blur: Tensor
    sigma: Tensor
    color_jitter: Tensor
    factors: Tensor
    order: Tensor
    grayscale: Tensor

    def __len__(self) -> int:
        return self.crop.shape[0]

    def to(self, device: torch.device | str) -> Draw:
        """The same draw on another device."""
        return Draw(*(getattr(self, f.name).to(device) for f in fields(self)))

    def index(self, rows: slice | Tensor) -> Draw:
        """The draw of some of the images: a slice, an index tensor or a mask."""
        return Draw(*(getattr(self, f.name)[rows] for f in fields(self)))

    __getitem__ = index


class Augmenter:
    """Draws and applies the augmentations of a configuration.

    Args:
        config: which augmentations, how strong, how often and in which order.
        size: height and width of the result, in pixels.

    Raises:
        ConfigError: if the blur's kernel does not fit into an image of this size.
    """

    def __init__(self, config: AugmentConfig, *, size: int = 32) -> None:
        if config.blur.enabled and config.blur.kernel_size // 2 >= size:
            raise ConfigError(
                f"augment.blur.kernel_size is {config.blur.kernel_size}; for images of {size} "
                f"pixels it must be at most {2 * size - 1}.",
                "augment.blur.kernel_size",
            )
        self.config = config
        self.size = size
        self._geometry = tuple(name for name in config.order if name in _GEOMETRY)
        self._photometry = tuple(name for name in config.order if name not in _GEOMETRY)

    def draw(
        self,
        n: int,
        generator: torch.Generator,
        device: torch.device | str | None = None,
    ) -> Draw:
        """Draws the parameters of ``n`` images.

        Args:
            n: number of images, >= 0.
            generator: the only source of randomness.
            device: where the draw is wanted; None: the generator's device.
        """
        numbers = self.numbers(n, generator)
        return self.parameters(numbers if device is None else numbers.to(device))

    @staticmethod
    def numbers(n: int, generator: torch.Generator) -> Tensor:
        """What a draw of ``n`` images is made of: uniform in [0, 1), float32 (n, 38).

        Every operation uses its own columns, whether it is on or off: switching one off leaves the
        others' parameters as they were.
        """
        return torch.rand((n, _COLUMNS), generator=generator, device=generator.device)

    def parameters(self, numbers: Tensor) -> Draw:
        """The draw that ``numbers`` are; on their device, without randomness of its own."""
        c, u = self.config, numbers
        end = 2 * CROP_TRIES
        tries, p, one = u[:, :end], u[:, end : end + 6], u[:, end + 6 : end + 10]
        jitter, order = u[:, end + 10 : end + 14], u[:, end + 14 :]

        def happens(column: int, enabled: bool, probability: float) -> Tensor:
            return p[:, column] < (probability if enabled else 0.0)

        log_ratio = _between(
            tries[:, CROP_TRIES:], math.log(c.crop.ratio_min), math.log(c.crop.ratio_max)
        )
        rotate = happens(1, c.rotation.enabled, c.rotation.p)
        angle = _between(one[:, 2], -c.rotation.degrees, c.rotation.degrees)
        strengths = (c.color_jitter.brightness, c.color_jitter.contrast, c.color_jitter.saturation)
        factors = [_between(jitter[:, i], 1.0 - s, 1.0 + s) for i, s in enumerate(strengths)]
        factors.append(_between(jitter[:, HUE], -c.color_jitter.hue, c.color_jitter.hue))
        return Draw(
            crop=happens(0, c.crop.enabled, c.crop.p),
            crop_area=_between(tries[:, :CROP_TRIES], c.crop.scale_min, c.crop.scale_max),
            crop_ratio=log_ratio.exp(),
            crop_top=one[:, 0],
            crop_left=one[:, 1],
            angle=angle * rotate,
            flip=happens(2, c.flip.enabled, c.flip.p),
            blur=happens(3, c.blur.enabled, c.blur.p),
            sigma=_between(one[:, 3], c.blur.sigma_min, c.blur.sigma_max),
            color_jitter=happens(4, c.color_jitter.enabled, c.color_jitter.p),
            factors=torch.stack(factors, dim=1),
            order=order.argsort(dim=1),
            grayscale=happens(5, c.grayscale.enabled, c.grayscale.p),
        )

    def crop_boxes(
        self, draw: Draw, height: int, width: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The crops of a draw in images of ``height`` x ``width`` pixels.

        The distribution is that of torchvision's ``RandomResizedCrop.get_params``: the first of
        ten candidates that fits, else the largest central crop within the ratios.

        Returns:
            top, left, height, width: float32 (N,) each, whole numbers of pixels; the whole image
            where no crop was drawn.
        """
        root = (draw.crop_area * float(height * width)).sqrt()
        stretch = draw.crop_ratio.sqrt()
        w, h = (root * stretch).round(), (root / stretch).round()  # (N, 10)
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
        found = fits.gather(1, first).squeeze(1)
        w, h = w.gather(1, first).squeeze(1), h.gather(1, first).squeeze(1)
        top = (draw.crop_top * (height - h + 1)).floor().minimum(height - h)
        left = (draw.crop_left * (width - w + 1)).floor().minimum(width - w)

        fallback = _central_box(
            height, width, self.config.crop.ratio_min, self.config.crop.ratio_max
        )
        whole = (0, 0, height, width)
        boxes = []
        for box, central, full in zip((top, left, h, w), fallback, whole, strict=True):
            box = torch.where(found, box, float(central))
            boxes.append(torch.where(draw.crop, box, float(full)))
        return boxes[0], boxes[1], boxes[2], boxes[3]

    def apply(self, images: Tensor, draw: Draw, *, dense: bool | None = None) -> Tensor:
        """Augments images with the parameters of a draw.

        Args:
            images: uint8 (N, 3, H, W), or float32 in [0, 1]; never written to.
            draw: the parameters of these N images, on their device.
            dense: take every image through every operation, without host synchronisation; None:
                as the device likes it (dense everywhere but on a CPU).

        Returns:
            float32 (N, 3, size, size) in [0, 1] to within rounding, a new tensor.

        Raises:
            ValueError: if the shapes do not fit.
        """
        n = images.shape[0]
        if images.ndim != 4 or images.shape[1] != 3 or len(draw) != n:
            raise ValueError(
                f"images of shape {tuple(images.shape)} and a draw of {len(draw)} do not fit"
            )
        if n == 0:
            return torch.zeros((0, 3, self.size, self.size), device=images.device)
        if dense is None:
            dense = images.device.type != "cpu"
        if images.device.type != "cpu" or n <= _CPU_CHUNK:
            return self._apply(images, draw, dense)
        out = torch.empty((n, 3, self.size, self.size))
        for start in range(0, n, _CPU_CHUNK):
            rows = slice(start, start + _CPU_CHUNK)
            out[rows] = self._apply(images[rows], draw.index(rows), dense)
        return out

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draws and applies: one view of each image; see ``apply``."""
        return self.apply(images, self.draw(images.shape[0], generator, images.device))

    def _apply(self, images: Tensor, draw: Draw, dense: bool) -> Tensor:
        x = self._sample(images, draw)
        for name in self._photometry:
            if name == "blur" and self.config.blur.enabled:
                x = self._blur(x, draw, dense)
            elif name == "color_jitter" and self.config.color_jitter.enabled:
                x = self._color(x, draw, dense)
            elif name == "grayscale" and self.config.grayscale.enabled:
                x = _gray(x, draw, dense)
        return x

    def _sample(self, images: Tensor, draw: Draw) -> Tensor:
        """Crop, resize, rotation and flip as one bilinear sampling; a new float tensor."""
        height, width = images.shape[-2:]
        resize = (height, width) != (self.size, self.size)
        c = self.config
        if not (resize or c.crop.enabled or c.rotation.enabled or c.flip.enabled):
            as_float = to_float(images)
            return as_float.clone() if as_float is images else as_float

        # From a pixel of the result back to its place in the image: the last operation first.
        # x and y are pixel indices in the frame of the moment, whole numbers at pixel centres.
        frame_h, frame_w = self.size, self.size
        steps = torch.arange(self.size, dtype=torch.float32, device=images.device)
        x, y = steps.view(1, 1, -1), steps.view(1, -1, 1)
        mask: Tensor | None = None
        for name in reversed(self._geometry):
            if name == "flip" and c.flip.enabled:
                x = torch.where(_column(draw.flip, 3), (frame_w - 1) - x, x)
            elif name == "rotation" and c.rotation.enabled:
                centre_x, centre_y = (frame_w - 1) / 2, (frame_h - 1) / 2
                radians = _column(draw.angle, 3).deg2rad()
                cos, sin = radians.cos(), radians.sin()
                x, y = x - centre_x, y - centre_y
                x, y = cos * x - sin * y, sin * x + cos * y
                mask = _inside(x, frame_w).mul_(_inside(y, frame_h))
                x, y = x.add_(centre_x), y.add_(centre_y)
            elif name == "crop" and (resize or c.crop.enabled):
                boxes = self.crop_boxes(draw, height, width)
                top, left, h, w = (_column(box, 3) for box in boxes)
                # The clamp keeps the neighbours of the crop out, as if it were an image apart.
                x = ((x + 0.5) * (w / self.size) + (left - 0.5)).clamp(left, left + (w - 1))
                y = ((y + 0.5) * (h / self.size) + (top - 0.5)).clamp(top, top + (h - 1))
                frame_h, frame_w = height, width

        grid = x.new_empty((images.shape[0], self.size, self.size, 2))
        grid[..., 0] = x * (2 / width) + (1 / width - 1)
        grid[..., 1] = y * (2 / height) + (1 / height - 1)
        out = F.grid_sample(
            to_float(images), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        # torchvision samples with zeros outside and weights by the sampled mask once more.
        return out if mask is None else out.mul_(mask.square_().unsqueeze(1))

    def _blur(self, x: Tensor, draw: Draw, dense: bool) -> Tensor:
        kernel_size = self.config.blur.kernel_size
        if dense:
            blurred = _gaussian_blur(x, draw.sigma, kernel_size)
            return torch.where(_column(draw.blur, 4), blurred, x)
        rows = draw.blur.nonzero().squeeze(1)
        if len(rows) == len(x):
            return _gaussian_blur(x, draw.sigma, kernel_size)
        return x.index_copy_(0, rows, _gaussian_blur(x[rows], draw.sigma[rows], kernel_size))

    def _color(self, x: Tensor, draw: Draw, dense: bool) -> Tensor:
        """Colour jitter: the three blends in their order, the hue at its place among them."""
        c = self.config.color_jitter
        blends = max(c.brightness, c.contrast, c.saturation) > 0.0
        hue_place = (draw.order == HUE).to(torch.uint8).argmax(dim=1)  # (N,) in 0..3
        if dense:
            for slot in range(3):
                if blends:
                    x = _blend(x, draw, hue_place, slot, draw.color_jitter & (hue_place > slot))
            if c.hue > 0.0:
                shifted = _shift_hue(x, draw.factors[:, HUE])
                x = torch.where(_column(draw.color_jitter, 4), shifted, x)
            for slot in range(3):
                if blends:
                    x = _blend(x, draw, hue_place, slot, draw.color_jitter & (hue_place <= slot))
            return x
        # Sorted by the place of the hue, those that a blend touches before it (or after it) are
        # one slice: no further gathering.
        rows = draw.color_jitter.nonzero().squeeze(1)
        rows = rows[hue_place[rows].argsort()]
        draw, hue_place = draw.index(rows), hue_place[rows]
        ends = torch.bincount(hue_place, minlength=4).cumsum(0).tolist()
        part = x[rows]
        everything = torch.ones_like(draw.color_jitter)
        for slot in range(3):
            if blends:
                late = slice(ends[slot], None)
                _blend(part[late], draw[late], hue_place[late], slot, everything[late])
        if c.hue > 0.0:
            part = _shift_hue(part, draw.factors[:, HUE])
        for slot in range(3):
            if blends:
                early = slice(0, ends[slot])
                _blend(part[early], draw[early], hue_place[early], slot, everything[early])
        return x.index_copy_(0, rows, part)


def to_float(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]; float images as they are."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255.0)
    return images.to(torch.float32)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(images - mean) / std`` for each channel.

    Args:
        images: float (N, C, H, W) in [0, 1].
        mean: float (C,), over [0, 1], on the images' device.
        std: float (C,), > 0.

    Returns:
        float (N, C, H, W), in the images' memory format.
    """
    return (images - mean.view(1, -1, 1, 1)).div_(std.view(1, -1, 1, 1))


def _between(u: Tensor, low: float, high: float) -> Tensor:
    return u.mul(high - low).add_(low)


def _column(values: Tensor, ndim: int) -> Tensor:
    """One value an image, (N,), shaped to broadcast over the rest of an ``ndim``-tensor."""
    return values.view(-1, *(1,) * (ndim - 1))


def _central_box(
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


def _inside(offset: Tensor, length: int) -> Tensor:
    """Bilinear weight of a row of ``length`` pixels at an offset from its centre, in [0, 1]."""
    return ((length + 1) / 2 - offset.abs()).clamp_(0.0, 1.0)


def _luma(x: Tensor) -> Tensor:
    """The gray image of (N, 3, H, W), with its channel dimension kept."""
    r, g, b = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    return r.mul(_LUMA[0]).add_(g, alpha=_LUMA[1]).add_(b, alpha=_LUMA[2])


def _gray(x: Tensor, draw: Draw, dense: bool) -> Tensor:
    if dense:
        return torch.where(_column(draw.grayscale, 4), _luma(x), x)
    rows = draw.grayscale.nonzero().squeeze(1)
    return x.index_copy_(0, rows, _luma(x[rows]).expand(-1, 3, -1, -1))


def _gaussian_blur(x: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Separable Gaussian with reflected borders and a sigma for each image."""
    half = kernel_size // 2
    taps = torch.arange(half + 1, dtype=torch.float32, device=x.device)  # distances 0..half
    weights = (-0.5 * (taps / sigma.unsqueeze(1)).square()).exp()  # (N, half + 1)
    weights = weights / (2.0 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    for dim in (3, 2):
        length = x.shape[dim]
        pad = (half, half, 0, 0) if dim == 3 else (0, 0, half, half)
        padded = F.pad(x, pad, mode="reflect")
        x = x * _column(weights[:, 0], 4)
        for k in range(1, half + 1):
            both = padded.narrow(dim, half - k, length) + padded.narrow(dim, half + k, length)
            x.addcmul_(both, _column(weights[:, k], 4))
    return x


def _blend(x: Tensor, draw: Draw, hue_place: Tensor, slot: int, active: Tensor) -> Tensor:
    """The ``slot``-th of brightness, contrast and saturation, in place, where ``active``.

    All three are ``clamp(factor * x + (1 - factor) * reference)`` with black, the mean of the
    gray image, and the gray image as the reference. An inactive image keeps its value exactly.
    """
    place = slot + (hue_place <= slot).to(torch.int64)
    kind = draw.order.gather(1, place.unsqueeze(1))
    factor = draw.factors.gather(1, kind).squeeze(1)
    kind = kind.squeeze(1)
    factor = torch.where(active, factor, 1.0)
    rest = 1.0 - factor
    gray = _luma(x)
    mean = gray.mean(dim=(2, 3), keepdim=True)
    reference = gray.mul_(_column(rest * (kind == SATURATION), 4))
    reference.add_(mean * _column(rest * (kind == CONTRAST), 4))
    return x.mul_(_column(factor, 4)).add_(reference).clamp_(0.0, 1.0)


def _shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Hue shifted by a share of the colour circle for each image; a new tensor.

    With the hue in sextants, each channel is the value less the chroma times a trapezoid around
    the circle: the same function as the way over HSV and back, without its table.
    """
    r, g, b = x[:, 0], x[:, 1], x[:, 2]
    value = torch.maximum(torch.maximum(r, g), b)
    chroma = value - torch.minimum(torch.minimum(r, g), b)
    # Where the chroma is nothing the hue may be anything finite.
    scale = chroma.clamp(min=1e-12).reciprocal_()
    hue = torch.where(
        value == r,
        (g - b) * scale,
        torch.where(value == g, (b - r) * scale + 2.0, (r - g) * scale + 4.0),
    )
    hue.add_(_column(turns * 6.0, 3))
    channels = []
    for centre in (3.0, 5.0, 1.0):  # where this channel is lowest, in sextants
        away = (hue - centre).mul_(1.0 / 6.0)
        away.sub_(away.round()).abs_()  # turns, in [0, 0.5]
        weight = away.mul_(-6.0).add_(2.0).clamp_(0.0, 1.0)
        channels.append(torch.addcmul(value, chroma, weight, value=-1.0))
    return torch.stack(channels, dim=1)
