"""The first convolution, of images: 3 channels, 3x3, stride 1; the kernels of both directions.

Laid out as in ``triton_norm``: a row is a pixel of the output. Of each row the 27 values under the
window, rounded to bfloat16 and filled up to 32, are multiplied with the weights on tensor cores and
summed in float32. Sums go in two stages, without atomics: the same input gives the same bits.
"""

import triton
import triton.language as tl

from engine.kernels.operations import INTERPRETED
from engine.kernels.triton_norm import (
    columns_of_block,
    folded,
    image_of_row,
    rows_of_part,
    store_statistics,
)

WIDENED = tl.constexpr(INTERPRETED)
"""Triton's interpreter multiplies the bits of bfloat16 as if they were integers."""


@triton.jit
def product(one, other, sums):
    """``sums`` and the product of two bfloat16 matrices, summed in float32."""
    if WIDENED:
        one, other = one.to(tl.float32), other.to(tl.float32)
    return tl.dot(one, other, sums, input_precision="ieee")


@triton.jit
def windows(
    x,
    image,
    pixel,
    mask,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDING: tl.constexpr,
):
    """The values under the window at output pixels, ``(ROWS, 32)`` bfloat16, by y, x and channel.

    The nine of one y are neighbours in memory.
    """
    ACROSS: tl.constexpr = WIDTH + 2 * PADDING - 2
    y, x_left = pixel // ACROSS - PADDING, pixel % ACROSS - PADDING
    number = tl.arange(0, 32)[None, :]
    below, beside = number // 9, number % 9
    corner = (image.to(tl.int32) * HEIGHT + y) * WIDTH + x_left
    there = mask & (number < 27)
    if PADDING > 0:
        row, column = y + below, x_left + beside // 3
        there = there & (row >= 0) & (row < HEIGHT) & (column >= 0) & (column < WIDTH)
    at = corner * 3 + (below * (3 * WIDTH) + beside)
    return tl.load(x + at, mask=there, other=0.0).to(tl.bfloat16)


@triton.jit
def stem_kernel(
    x,
    weight,
    out,
    partial,
    rows,
    batch,
    rows_per_part,
    SPLITS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDING: tl.constexpr,
    CHANNELS: tl.constexpr,
    STATISTICS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The output, and as ``triton_norm.statistics_kernel`` what BatchNorm wants to know of it."""
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    number = tl.arange(0, 32)[:, None]
    weights = tl.load(weight + column * 27 + number, mask=(number < 27) & there, other=0.0)
    weights = weights.to(tl.bfloat16)
    PIXELS: tl.constexpr = (HEIGHT + 2 * PADDING - 2) * (WIDTH + 2 * PADDING - 2)
    shift = tl.zeros((COLUMNS,), tl.float32)
    # Tensor cores leave the values of every 64th row to the same thread.
    FOLD: tl.constexpr = 1 if ROWS <= 64 else ROWS // 64
    one = tl.zeros((ROWS // FOLD, COLUMNS), tl.float32)
    other = tl.zeros((ROWS // FOLD, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + lane
        image, pixel = image_of_row(row, batch, SPLITS, PIXELS), row % PIXELS
        values = windows(x, image, pixel, row < last, HEIGHT, WIDTH, PADDING)
        # Of what is stored, as a kernel that reads it would have it.
        made = product(values, weights, tl.zeros((ROWS, COLUMNS), tl.float32))
        made = made.to(out.dtype.element_ty)
        mask = (row < last) & there
        tl.store(out + (image * PIXELS + pixel) * CHANNELS + column, made, mask=mask)
        if STATISTICS:
            found = made.to(tl.float32)
            if start == first:  # rows that are not there are 0
                shift = tl.sum(found, 0) / tl.minimum(last - first, ROWS)
            distance = tl.where(row < last, found - shift[None, :], 0.0)
            one += folded(distance, ROWS // FOLD, COLUMNS, FOLD)
            other += folded(distance * distance, ROWS // FOLD, COLUMNS, FOLD)
    if STATISTICS:
        store_statistics(partial, shift, one, other, last - first, CHANNELS, COLUMNS)


@triton.jit
def stem_gradient_kernel(
    grad,
    x,
    partial,
    rows,
    rows_per_part,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDING: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient towards the weights of each part of all rows, ``partial (parts, C, 32)``."""
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    PIXELS: tl.constexpr = (HEIGHT + 2 * PADDING - 2) * (WIDTH + 2 * PADDING - 2)
    sums = tl.zeros((32, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + lane
        values = windows(x, row // PIXELS, row % PIXELS, row < last, HEIGHT, WIDTH, PADDING)
        at = row.to(tl.int64) * CHANNELS + column
        arriving = tl.load(grad + at, mask=(row < last) & there, other=0.0).to(tl.bfloat16)
        sums = product(tl.trans(values), arriving, sums)
    number = tl.arange(0, 32)[:, None]
    place = (tl.program_id(0) * CHANNELS + column) * 32 + number
    tl.store(partial + place, sums, mask=there & (number < 32))


@triton.jit
def merge_stem_gradient_kernel(
    partial,
    grad_weight,
    parts,
    CHANNELS: tl.constexpr,
    PARTS_TILE: tl.constexpr,
    VALUES: tl.constexpr,
):
    """The sum over the parts, without what fills 27 up to 32: ``(C, 27)``."""
    place = tl.program_id(0) * VALUES + tl.arange(0, VALUES)[None, :]
    part = tl.arange(0, PARTS_TILE)[:, None]
    there = place < CHANNELS * 32
    sums = tl.zeros((PARTS_TILE, VALUES), tl.float32)
    for start in range(0, parts, PARTS_TILE):
        mask = (start + part < parts) & there
        sums += tl.load(partial + (start + part) * (CHANNELS * 32) + place, mask=mask, other=0.0)
    place = tl.program_id(0) * VALUES + tl.arange(0, VALUES)
    number = place % 32
    mask = (place < CHANNELS * 32) & (number < 27)
    tl.store(grad_weight + place // 32 * 27 + number, tl.sum(sums, 0), mask=mask)
