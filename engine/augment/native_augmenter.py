"""The augmentations of a batch by the kernels in C, one image at a time (``engine.native``).

Drawing stays where it was (``Augmenter``): the same numbers give the same views up to rounding.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from engine.augment.augmentation import AugmentParams
from engine.augment.augmenter import Augmenter
from engine.native.library import call, level_number

# The numbers and columns of planes.h.
_GEOMETRY = {"crop": 0, "rotation": 1, "flip": 2}
_PHOTOMETRY = {"blur": 0, "color_jitter": 1, "grayscale": 2}
_COLUMNS = 19


class _Augmentation(ctypes.Structure):
    """``struct augmentation``."""

    _fields_ = (
        ("geometry", ctypes.c_int32 * 4),
        ("photometry", ctypes.c_int32 * 4),
        ("size", ctypes.c_int32),
        ("half", ctypes.c_int32),
        ("blends", ctypes.c_int32),
        ("hue", ctypes.c_int32),
    )


class NativeAugmenter:
    """Augments and normalises images as ``Augmenter.apply`` and ``normalise`` do.

    Args:
        augmenter: draws, and says which augmentations there are; ``can_take`` must hold for it.
        mean: float32 (3,), of the channels in [0, 1].
        std: float32 (3,).
        level: of the kernels.
    """

    def __init__(self, augmenter: Augmenter, mean: Tensor, std: Tensor, level: str) -> None:
        self.augmenter = augmenter
        self.mean, self.std = mean.float().contiguous(), std.float().contiguous()
        self.level = level_number(level)

    @staticmethod
    def can_take(augmenter: Augmenter) -> bool:
        """Whether the kernels know every augmentation that is on."""
        known = _GEOMETRY.keys() | _PHOTOMETRY.keys()
        return all(name in known for name in augmenter.enabled_names)

    def _description(self, height: int, width: int) -> _Augmentation:
        config, size = self.augmenter.config, self.augmenter.size
        names = self.augmenter.enabled_names
        # A crop that is off still brings images of another size to that of the result.
        if (height, width) != (size, size):
            names = tuple(n for n in self.augmenter.names if n in (*names, "crop"))
        out = _Augmentation(size=size, half=config.blur.kernel_size // 2 if "blur" in names else 0)
        for field, numbers in ((out.geometry, _GEOMETRY), (out.photometry, _PHOTOMETRY)):
            ours = [numbers[name] for name in names if name in numbers]
            field[:] = [*ours, *[-1] * (4 - len(ours))]
        jitter = config.color_jitter
        out.blends = max(jitter.brightness, jitter.contrast, jitter.saturation) > 0.0
        out.hue = jitter.hue > 0.0
        return out

    def columns(self, params: AugmentParams, height: int, width: int) -> Tensor:
        """The parameters as the kernel takes them, float32 (N, 19).

        Args:
            params: of N images.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        names, out = self.augmenter.names, torch.zeros(len(params), _COLUMNS)
        if "crop" in names:
            boxes = self.augmenter["crop"].boxes(params["crop"], height, width)
            out[:, 0:4] = torch.stack(boxes, dim=1)
        if "rotation" in names:
            radians = params["rotation"].angle.deg2rad()
            out[:, 4], out[:, 5] = radians.cos(), radians.sin()
        if "flip" in names:
            out[:, 6] = params["flip"].applied
        if "blur" in names:
            out[:, 7], out[:, 8] = params["blur"].applied, params["blur"].sigma
        if "color_jitter" in names:
            jitter = params["color_jitter"]
            out[:, 9], out[:, 10:14], out[:, 14:18] = jitter.applied, jitter.factors, jitter.order
        if "grayscale" in names:
            out[:, 18] = params["grayscale"].applied
        return out

    def prepare(self, images: Tensor, params: AugmentParams) -> Batch:
        """A batch of N views to be computed in parts by any number of threads.

        Args:
            images: uint8 (M, 3, H, W), contiguous.
            params: of N views.
        """
        height, width = images.shape[-2:]
        return Batch(self, images, self.columns(params, height, width))


class Batch:
    """Views of a batch: see ``NativeAugmenter.prepare``."""

    def __init__(self, owner: NativeAugmenter, images: Tensor, columns: Tensor) -> None:
        self._owner = owner
        self._images = images
        self._columns = columns
        self._how = owner._description(*images.shape[-2:])

    def compute(self, indices: Tensor, out: Tensor, start: int) -> None:
        """Compute views ``start`` and on.

        Args:
            indices: int64 (n,), contiguous: which images the views are of.
            out: float32 or bfloat16 (n, 3, size, size), channels_last; written to.
            start: number of the first of these views in the batch.
        """
        owner = self._owner
        columns = self._columns[start : start + len(indices)]
        call(
            "augment",
            owner.level,
            out.dtype == torch.float32,
            ctypes.byref(self._how),
            self._images.data_ptr(),
            indices.data_ptr(),
            columns.data_ptr(),
            owner.mean.data_ptr(),
            owner.std.data_ptr(),
            out.data_ptr(),
            len(indices),
            *self._images.shape[-2:],
        )


def normalise_natively(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images as a backbone takes them, in one passage.

    Args:
        images: uint8 (N, 3, H, W), contiguous.
        mean: float32 (3,), contiguous, of the channels in [0, 1].
        std: float32 (3,), contiguous.

    Returns:
        float32 (N, 3, H, W), channels_last: to the bit what ``to_float`` and ``normalise`` give.
    """
    out = torch.empty(images.shape, memory_format=torch.channels_last)
    call(
        "normalise",
        images.data_ptr(),
        mean.data_ptr(),
        std.data_ptr(),
        out.data_ptr(),
        len(images),
        images.shape[2] * images.shape[3],
    )
    return out
