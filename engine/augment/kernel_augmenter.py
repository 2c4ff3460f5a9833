"""The augmentations of a batch by one kernel in Triton (``engine.kernels.triton_views``).

Drawing stays where it was (``Augmenter``): the same numbers give the same views up to rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.augment.augmentation import SHARED_NUMBERS
from engine.augment.augmenter import Augmenter, normalise
from engine.augment.crop import TRIES, central_box
from engine.config.augment import AUGMENTATIONS
from engine.config.schema import AugmentConfig
from engine.kernels.view_plan import GEOMETRY, LARGEST, PHOTOMETRY, ViewPlan


class KernelAugmenter:
    """Augments and normalises as ``Augmenter.apply`` and ``normalise`` do.

    A CPU computes by these, for tests, unless Triton's interpreter is asked for.

    Args:
        augmenter: draws, and says which augmentations there are; ``can_take`` must hold for it.
        shape: height and width of the images, in pixels.
        mean: float32 (3,), of the channels in [0, 1], on the device.
        std: float32 (3,), > 0, on the device.
    """

    def __init__(
        self, augmenter: Augmenter, shape: tuple[int, int], mean: Tensor, std: Tensor
    ) -> None:
        self.augmenter, self.shape = augmenter, shape
        self.plan = _plan(augmenter, shape)
        self.normalise_by(mean, std)

    def normalise_by(self, mean: Tensor, std: Tensor) -> None:
        """Takes other statistics from now on; what was recorded with earlier ones keeps those."""
        self.mean, self.std = mean, std
        self.table = _table(self.augmenter.config, self.shape, mean, std)

    @staticmethod
    def can_take(config: AugmentConfig, size: int) -> bool:
        """Whether the kernel knows every augmentation that is on, and holds views of a size."""
        on = (n for n in config.order if AUGMENTATIONS.is_own(n) or getattr(config, n).enabled)
        return size <= LARGEST and all(name in GEOMETRY or name in PHOTOMETRY for name in on)

    def __call__(
        self, images: Tensor, numbers: Tensor, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Views of images, the n-th of image ``n % B``.

        Args:
            images: uint8 ``(B, 3, H, W)``, contiguous, of the shape given.
            numbers: float32 ``(N, 38)``, contiguous, of ``Augmenter.uniform_numbers``, on their
                device; N is a multiple of B.
            dtype: float32, or bfloat16: to the bit what the float32 values round to.

        Returns:
            ``(N, 3, size, size)``, normalised, channels_last.
        """
        from engine.kernels.operations import INTERPRETED  # not before a step wants kernels

        if images.device.type == "cpu" and not INTERPRETED:
            return self._written(images, numbers).to(dtype)
        from engine.kernels.view_launches import launch_views

        return launch_views(images, numbers, self.table, self.plan, dtype, precise=not INTERPRETED)

    def _written(self, images: Tensor, numbers: Tensor) -> Tensor:
        images = images.repeat(len(numbers) // len(images), 1, 1, 1)
        made = self.augmenter.apply(images, self.augmenter.params(numbers), dense=True)
        views = normalise(made, self.mean, self.std)
        return views.contiguous(memory_format=torch.channels_last)


def _plan(augmenter: Augmenter, shape: tuple[int, int]) -> ViewPlan:
    config, size, names = augmenter.config, augmenter.size, augmenter.enabled_names
    # A crop that is off still brings images of another size to that of the result.
    if shape != (size, size):
        names = tuple(n for n in augmenter.names if n in (*names, "crop"))
    jitter = config.color_jitter
    return ViewPlan(
        size=size,
        geometry=tuple(name for name in names if name in GEOMETRY),
        photometry=tuple(name for name in names if name in PHOTOMETRY),
        half=config.blur.kernel_size // 2 if "blur" in names else 0,
        blends=max(jitter.brightness, jitter.contrast, jitter.saturation) > 0.0,
        shifts=jitter.hue > 0.0,
    )


def _table(config: AugmentConfig, shape: tuple[int, int], mean: Tensor, std: Tensor) -> Tensor:
    """The table of ``triton_views``, on the device of ``mean``."""
    crop, rotation, blur, jitter = config.crop, config.rotation, config.blur, config.color_jitter
    # Each number as torch rounds it: the differences are taken in float64, as ``between`` does.
    first, second = torch.zeros(2, SHARED_NUMBERS, dtype=torch.float64)
    shares = (crop, rotation, config.flip, blur, jitter, config.grayscale)
    for column, part in enumerate(shares, 2 * TRIES):
        first[column] = part.p if part.enabled else 0.0
    strengths = (jitter.brightness, jitter.contrast, jitter.saturation)
    ranges = [
        (slice(0, TRIES), crop.scale_min, crop.scale_max),
        (slice(TRIES, 2 * TRIES), math.log(crop.ratio_min), math.log(crop.ratio_max)),
        (28, -rotation.degrees, rotation.degrees),
        (29, blur.sigma_min, blur.sigma_max),
        *((column, 1.0 - s, 1.0 + s) for column, s in enumerate(strengths, 30)),
        (33, -jitter.hue, jitter.hue),
    ]
    for columns, low, high in ranges:
        first[columns], second[columns] = high - low, low
    third = torch.zeros(SHARED_NUMBERS, dtype=torch.float64)
    third[:4] = torch.tensor(central_box(*shape, crop.ratio_min, crop.ratio_max))
    third[4:7], third[7:10] = mean.cpu(), 1.0 / std.cpu().double()
    return torch.stack([first, second, third]).float().to(mean.device)
