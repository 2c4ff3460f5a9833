"""How the values of BatchNorm's groups are shared out among the programs of a kernel.

A value of a channels_last tensor has a row (a pixel of an image) and a column (its channel). The
rows of a group are those of its images, one image after another. A program takes a part of the rows
of one group, tile by tile, for a block of channels: neighbours along the channels are neighbours in
memory, and what belongs to a group and channel stays in registers.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.kernels import choices
from engine.kernels.choices import KernelChoice

COLUMNS = 128
"""Largest number of channels of a tile: of float32 512 bytes in a row."""


class Tiles(NamedTuple):
    """How a kernel over the rows of groups is launched.

    Attributes:
        rows: of a tile, a power of two.
        columns: of a tile, a power of two.
        column_blocks: tiles side by side.
        parts: of a group, each a program's; none is empty.
        rows_per_part: a multiple of ``rows``; the last part may have fewer.
    """

    rows: int
    columns: int
    column_blocks: int
    parts: int
    rows_per_part: int


class MergeTiles(NamedTuple):
    """How the parts of groups are merged.

    Attributes:
        groups: that are read at once, a power of two.
        parts: of a group, rounded up to a power of two.
        column_blocks: programs.
    """

    groups: int
    parts: int
    column_blocks: int


def tiles(rows: int, groups: int, channels: int, choice: KernelChoice, *, least: int = 1) -> Tiles:
    """The tiles for ``groups`` groups of ``rows`` rows and ``channels`` channels each.

    Args:
        rows: of a group, at least 1.
        groups: of all views.
        channels: of the tensor.
        choice: of the kernel.
        least: rows and columns that a tile has at least, a power of two.
    """
    columns = max(min(COLUMNS, power_of_two(channels)), least)
    column_blocks = -(-channels // columns)
    height = max(min(choice.tile // columns, power_of_two(rows)), least)
    count = -(-rows // height)
    parts = min(max(choice.programs // (groups * column_blocks), 1), count)
    rows_per_part = -(-count // parts) * height
    return Tiles(height, columns, column_blocks, -(-rows // rows_per_part), rows_per_part)


def merge_tiles(parts: int, groups: int, channels: int) -> MergeTiles:
    """The tiles for merging ``parts`` parts of each of ``groups`` groups."""
    rounded = power_of_two(parts)
    at_once = min(max(choices.MERGE_TILE // rounded, 1), power_of_two(groups))
    return MergeTiles(at_once, rounded, -(-channels // choices.MERGE_COLUMNS))


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least ``n``, itself at least 1."""
    return 1 << (n - 1).bit_length()


def bytes_moved(
    images: int,
    channels: int,
    height: int,
    width: int,
    *,
    size: int,
    pooled: bool,
    relu: bool = True,
    residual: bool = False,
    gradient: bool = True,
) -> dict[str, int]:
    """Bytes that the kernels of a block read and write, by kernel; those of sums are left out.

    A kernel reads each of its inputs once and writes each of its outputs once, so this is what
    passes through memory where nothing stays in a cache.

    Args:
        images: ``N`` of the input ``(N, C, H, W)``.
        channels: ``C``.
        height: ``H``.
        width: ``W``.
        size: bytes of a value, 4 or 2.
        pooled: whether dropout, pooling and ReLU follow, or (residual and) ReLU.
        relu: where not pooled.
        residual: where not pooled.
        gradient: whether there is a backward pass.
    """
    values = images * channels * height * width
    whole = values * size
    if pooled:
        cells = images * channels * (height // 2) * (width // 2)
        small = cells * size
        found = {"statistics": whole, "apply": whole + small + (cells if gradient else 0)}
        if gradient:
            read = images * channels * (height // 2 * 2) * (width // 2 * 2) * size
            found["reduce"] = read + small + cells
            found["backward"] = 2 * whole + small + cells
        return found
    found = {"statistics": whole, "apply": (3 if residual else 2) * whole}
    if gradient:
        # With a residual: gradient, input and output are read and the masked gradient is written.
        found["reduce"] = (4 if residual and relu else 2) * whole
        found["backward"] = 3 * whole
    return found
