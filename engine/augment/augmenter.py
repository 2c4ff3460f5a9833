"""Batched random augmentations, drawn anew for every image.

Crop, resize, rotation and flip compose into one bilinear sampling; the others follow in the order
of the configuration. Each augmentation is a module of its own, found through the registry
``engine.config.augment``.

Two ways of applying give the same result: by subsets (an operation touches only the images that
it was drawn for; fast on a CPU) and dense (every image goes through every operation and keeps its
value where it was not drawn; no host synchronisation, so it suits CUDA and graph capture).

The operations follow ``torchvision.transforms.v2.functional`` on float tensors, one set of
parameters for each image where torchvision has one for the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.augment.augmentation import SHARED_NUMBERS, AugmentParams, SourceGrid
from engine.augment.own_augmentation import OwnAugmentation
from engine.config.augment import AUGMENTATIONS, GEOMETRY
from engine.config.schema import AugmentConfig

_CPU_CHUNK = 64  # images; the tensors of a chunk (0.8 MB each) stay in the cache


@dataclass(frozen=True)
class _Step:
    """One augmentation of a configuration.

    Attributes:
        name: as in ``augment.order``.
        work: a ``Geometry`` or a ``Photometry``.
        enabled: whether it is on.
        columns: its uniform numbers among those of an image, put together in this order.
    """

    name: str
    work: Any
    enabled: bool
    columns: tuple[slice, ...]


class Augmenter:
    """Draws and applies the augmentations of a configuration.

    Args:
        config: which augmentations, how strong, how often and in which order.
        size: height and width of the result, in pixels.

    Attributes:
        own_streams: how many uniform numbers an image takes of each stream beside the shared one,
            by the name of the augmentation, in the order of the configuration.

    Raises:
        ConfigError: if an augmentation does not suit images of this size, or one of the user's own
            is not what it has to be.
    """

    def __init__(self, config: AugmentConfig, *, size: int = 32) -> None:
        self.config = config
        self.size = size
        self.own_streams: dict[str, int] = {}
        self._geometry: list[_Step] = []
        self._photometry: list[_Step] = []
        self._width = SHARED_NUMBERS
        for name in config.order:
            steps = self._geometry if name in GEOMETRY else self._photometry
            steps.append(self._step(name))

    def _step(self, name: str) -> _Step:
        work: Any
        if AUGMENTATIONS.is_own(name):
            work, enabled = OwnAugmentation(name, self.size), True
        else:
            make = AUGMENTATIONS.load(name)
            settings = getattr(self.config, name)
            work, enabled = make(settings, self.size), settings.enabled
        columns: tuple[slice, ...] = getattr(work, "shared", ())
        if not columns:
            columns = (slice(self._width, self._width + work.numbers),)
            self._width += work.numbers
            self.own_streams[name] = work.numbers
        return _Step(name, work, enabled, columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The augmentations in the order in which they are applied."""
        return tuple(step.name for step in (*self._geometry, *self._photometry))

    @property
    def enabled_names(self) -> tuple[str, ...]:
        """Those of ``names`` that are on."""
        return tuple(s.name for s in (*self._geometry, *self._photometry) if s.enabled)

    def __getitem__(self, name: str) -> Any:
        """The object that draws and applies an augmentation."""
        return next(s.work for s in (*self._geometry, *self._photometry) if s.name == name)

    def uniform_numbers(
        self,
        n: int,
        generator: torch.Generator,
        own: Mapping[str, torch.Generator] | None = None,
    ) -> Tensor:
        """The random numbers that the parameters of ``n`` images are made of.

        Every operation uses its own columns, whether it is on or off: switching one off leaves the
        others' parameters as they were.

        Args:
            n: number of images, >= 0.
            generator: draws the shared numbers.
            own: the generator of each of ``own_streams``, on the same device; None: ``generator``
                draws those too, after the shared ones.

        Returns:
            float32 (n, 38 and those of ``own_streams``), uniform in [0, 1), on the generator's
            device.
        """
        shared = torch.rand((n, SHARED_NUMBERS), generator=generator, device=generator.device)
        if not self.own_streams:
            return shared
        parts = [shared]
        for name, width in self.own_streams.items():
            source = generator if own is None else own[name]
            parts.append(torch.rand((n, width), generator=source, device=source.device))
        return torch.cat(parts, dim=1)

    def params(self, numbers: Tensor) -> AugmentParams:
        """The parameters made of ``numbers``; on their device, without randomness of its own."""
        by_name = {}
        # Those that are off too: a crop that is off still resizes, with its parameters.
        for step in (*self._geometry, *self._photometry):
            parts = [numbers[:, columns] for columns in step.columns]
            uniform = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            by_name[step.name] = step.work.params(uniform)
        return AugmentParams(numbers.shape[0], by_name)

    def random_params(
        self,
        n: int,
        generator: torch.Generator,
        device: torch.device | str | None = None,
    ) -> AugmentParams:
        """Draws the parameters of ``n`` images.

        Args:
            n: number of images, >= 0.
            generator: the only source of randomness.
            device: where they are wanted; None: the generator's device.
        """
        numbers = self.uniform_numbers(n, generator)
        return self.params(numbers if device is None else numbers.to(device))

    def apply(self, images: Tensor, params: AugmentParams, *, dense: bool | None = None) -> Tensor:
        """Augments images.

        Args:
            images: uint8 (N, 3, H, W), or float32 in [0, 1]; never written to.
            params: the parameters of these N images, on their device.
            dense: take every image through every operation, without host synchronisation; None:
                as the device likes it (dense everywhere but on a CPU).

        Returns:
            float32 (N, 3, size, size) in [0, 1] to within rounding, a new tensor.

        Raises:
            ValueError: if the shapes do not fit.
        """
        n = images.shape[0]
        if images.ndim != 4 or images.shape[1] != 3 or len(params) != n:
            raise ValueError(
                f"images of shape {tuple(images.shape)} and parameters of {len(params)} do not fit"
            )
        if n == 0:
            return torch.zeros((0, 3, self.size, self.size), device=images.device)
        if dense is None:
            dense = images.device.type != "cpu"
        if images.device.type != "cpu" or n <= _CPU_CHUNK:
            return self._apply(images, params, dense)
        out = torch.empty((n, 3, self.size, self.size))
        for start in range(0, n, _CPU_CHUNK):
            rows = slice(start, start + _CPU_CHUNK)
            out[rows] = self._apply(images[rows], params.take(rows), dense)
        return out

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draws and applies: one view of each image; see ``apply``."""
        return self.apply(images, self.random_params(images.shape[0], generator, images.device))

    def _apply(self, images: Tensor, params: AugmentParams, dense: bool) -> Tensor:
        x = self._sample(images, params)
        for step in self._photometry:
            if step.enabled:
                x = step.work.apply(x, params[step.name], dense=dense)
        return x

    def _sample(self, images: Tensor, params: AugmentParams) -> Tensor:
        """The geometry as one bilinear sampling; a new float tensor of the final size."""
        height, width = images.shape[-2:]
        resize = (height, width) != (self.size, self.size)
        steps = [s for s in self._geometry if s.enabled or (resize and s.work.resizes)]
        floats = to_float(images)
        if not steps and not resize:
            # What follows writes in place, which must not reach the caller's images.
            return floats.clone() if floats is images else floats

        # From a pixel of the result back to its place in the image: the last operation first.
        places = torch.arange(self.size, dtype=torch.float32, device=images.device)
        at = SourceGrid(
            x=places.view(1, 1, -1),
            y=places.view(1, -1, 1),
            height=self.size,
            width=self.size,
            image_height=height,
            image_width=width,
            size=self.size,
        )
        for step in reversed(steps):
            step.work.to_input(at, params[step.name])
        # Pixel index x is (2 x + 1) / width - 1 for grid_sample with align_corners=False. Relative
        # to the current frame, so that other sizes are resized here where no crop has done it.
        grid = at.x.new_empty((images.shape[0], self.size, self.size, 2))
        grid[..., 0] = at.x * (2 / at.width) + (1 / at.width - 1)
        grid[..., 1] = at.y * (2 / at.height) + (1 / at.height - 1)
        # The border is repeated so that a resized image has no dark edge; what a rotation brings in
        # from outside is made black by its weight.
        out = sample_repeating_border(floats, grid)
        return out if at.weight is None else out.mul_(at.weight.unsqueeze(1))


def sample_repeating_border(images: Tensor, grid: Tensor, *, native: bool | None = None) -> Tensor:
    """Bilinear values of float images ``(N, C, H, W)`` at ``grid`` (N, h, w, 2) in [-1, 1].

    As ``F.grid_sample`` with ``padding_mode="border"``, which Apple's GPUs lack: there the grid is
    drawn in to the centres of the outermost pixels, where both are the same up to rounding.

    Args:
        images: the images.
        grid: x and y, without ``align_corners``; overwritten where the padding is lacking.
        native: whether the device has that padding; None: all but ``mps`` have.

    Returns:
        (N, C, h, w).
    """
    if images.device.type != "mps" if native is None else native:
        return F.grid_sample(
            images, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
    for axis, size in enumerate((images.shape[3], images.shape[2])):
        edge = 1.0 - 1.0 / size
        grid[..., axis].clamp_(-edge, edge)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


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
    return (images - mean.view(1, -1, 1, 1)).div_(std.view(1, -1, 1, 1))  # one temporary, not two
