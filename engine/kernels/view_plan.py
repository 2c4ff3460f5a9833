"""What the kernel that makes views is told of the augmentations of a run; needs no Triton."""

from __future__ import annotations

from typing import NamedTuple

LARGEST = 64
"""Pixels of a side: a program's registers hold three channels of a view, and 1,024 threads have 64
each."""
PIXELS_A_THREAD = 4
"""Of 32 x 32 pixels, eight warps. As Triton 3.8 compiles the presets for an H100, that takes 40
registers a thread, so a multiprocessor makes six views at once; eight pixels take 80."""

# The numbers of ``triton_views``.
GEOMETRY = {"crop": 1, "rotation": 2, "flip": 3}
PHOTOMETRY = {"blur": 1, "color_jitter": 2, "grayscale": 3}


class ViewPlan(NamedTuple):
    """What is the same for all views of a run.

    Attributes:
        size: height and width of a view, 1 to ``LARGEST``.
        geometry: names of ``GEOMETRY``, in the order in which they are applied.
        photometry: names of ``PHOTOMETRY``, in that order, after those.
        half: pixels on each side of the middle one of the blur's kernel, below ``size``.
        blends: whether the colour jitter changes brightness, contrast or saturation.
        shifts: whether it changes the hue.
    """

    size: int
    geometry: tuple[str, ...]
    photometry: tuple[str, ...]
    half: int
    blends: bool
    shifts: bool

    @property
    def tile(self) -> int:
        """Values of a channel in a program: the pixels of a view, up to the next power of two."""
        return 1 << (self.size**2 - 1).bit_length()

    @property
    def warps(self) -> int:
        """Of a program."""
        return max(1, self.tile // (32 * PIXELS_A_THREAD))

    @property
    def packed_geometry(self) -> int:
        """Two bits for each, the last one lowest: places are taken back to the image."""
        return _packed([GEOMETRY[name] for name in reversed(self.geometry)])

    @property
    def packed_photometry(self) -> int:
        """Two bits for each, the first one lowest."""
        return _packed([PHOTOMETRY[name] for name in self.photometry])


def _packed(codes: list[int]) -> int:
    return sum(code << (2 * place) for place, code in enumerate(codes))
