"""BatchNorm over groups, dropout, 2x2 max pooling and ReLU: the kernels of both directions.

Laid out as in ``triton_norm``, but that a row is a cell of 2x2 pixels. The four pixels of a cell
get the four numbers of one call of Philox4x32-10 (Salmon et al., SC 2011), whose key is the seed
and whose counter is the place of the pooled value: the same seed drops the same units, however the
values are shared out.
"""

import triton
import triton.language as tl

from engine.kernels.triton_norm import columns_of_block, image_of_row, rows_of_part, store_sums


@triton.jit
def corner(row, image, CELL: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """The place of the upper left pixel of cells, in pixels; ``CELL`` cells make a row of cells."""
    return (image * HEIGHT + row // CELL * 2) * WIDTH + row % CELL * 2


@triton.jit
def better(best, winner, values, number: tl.constexpr):
    """The larger of two and its number; the first of equals; NaN wins, as in torch."""
    take = (values > best) | (values != values)
    return tl.where(take, values, best), tl.where(take, number, winner)


@triton.jit
def kept(values, bits, threshold):
    """``values`` where the upper 24 of random ``bits`` reach the threshold, else 0."""
    return tl.where((bits >> 8).to(tl.int32) >= threshold, values, 0.0)


@triton.jit
def pooled_apply_kernel(
    x,
    mean,
    inverse,
    weight,
    bias,
    seed,
    out,
    winners,
    rows,
    batch,
    rows_per_part,
    threshold,
    factor,
    SPLITS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    DROPOUT: tl.constexpr,
    WINNERS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The pooled output, and which of four pixels it is from (4: none, ReLU is closed)."""
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    scale = tl.load(inverse + place, mask=there, other=0.0)
    scale *= tl.load(weight + column, mask=there, other=0.0) * factor
    offset_by = tl.load(bias + column, mask=there, other=0.0) * factor
    CELLS: tl.constexpr = (HEIGHT // 2) * (WIDTH // 2)
    if DROPOUT:
        key = tl.load(seed)
    for start in range(first, last, ROWS):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, CELLS)
        at = corner(row % CELLS, image, WIDTH // 2, HEIGHT, WIDTH) * CHANNELS + column
        below = at + WIDTH * CHANNELS
        one = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        two = tl.load(x + at + CHANNELS, mask=mask, other=0.0).to(tl.float32)
        three = tl.load(x + below, mask=mask, other=0.0).to(tl.float32)
        four = tl.load(x + below + CHANNELS, mask=mask, other=0.0).to(tl.float32)
        one = tl.fma(one - middle, scale, offset_by)
        two = tl.fma(two - middle, scale, offset_by)
        three = tl.fma(three - middle, scale, offset_by)
        four = tl.fma(four - middle, scale, offset_by)
        offset = (image * CELLS + row % CELLS) * CHANNELS + column
        if DROPOUT:
            bits_1, bits_2, bits_3, bits_4 = tl.randint4x(key, offset)
            one = kept(one, bits_1, threshold)
            two = kept(two, bits_2, threshold)
            three = kept(three, bits_3, threshold)
            four = kept(four, bits_4, threshold)
        winner = tl.zeros((ROWS, COLUMNS), tl.int32)
        best, winner = better(one, winner, two, 1)
        best, winner = better(best, winner, three, 2)
        best, winner = better(best, winner, four, 3)
        closed = best <= 0.0
        tl.store(out + offset, tl.where(closed, 0.0, best).to(out.dtype.element_ty), mask=mask)
        if WINNERS:
            winner = tl.where(closed, 4, winner)
            tl.store(winners + offset, winner.to(tl.uint8), mask=mask)


@triton.jit
def pooled_reduce_kernel(
    grad,
    x,
    winners,
    mean,
    inverse,
    partial,
    rows,
    batch,
    rows_per_part,
    factor,
    SPLITS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """As ``triton_norm.reduce_kernel``: only the winners have a gradient."""
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    norm = tl.load(inverse + place, mask=there, other=0.0)
    CELLS: tl.constexpr = (HEIGHT // 2) * (WIDTH // 2)
    one = tl.zeros((ROWS, COLUMNS), tl.float32)
    other = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, CELLS)
        at = corner(row % CELLS, image, WIDTH // 2, HEIGHT, WIDTH) * CHANNELS + column
        below = at + WIDTH * CHANNELS
        offset = (image * CELLS + row % CELLS) * CHANNELS + column
        winner = tl.load(winners + offset, mask=mask, other=4)
        arriving = tl.load(grad + offset, mask=mask, other=0.0).to(tl.float32)
        arriving = tl.where(winner == 4, 0.0, arriving)
        # All four, since the winners of neighbours fill the same sectors of memory.
        values = tl.load(x + at, mask=mask, other=0.0)
        two = tl.load(x + at + CHANNELS, mask=mask, other=0.0)
        three = tl.load(x + below, mask=mask, other=0.0)
        four = tl.load(x + below + CHANNELS, mask=mask, other=0.0)
        values = tl.where(winner == 1, two, values)
        values = tl.where(winner == 2, three, values)
        values = tl.where(winner == 3, four, values)
        one += arriving
        other += arriving * (values.to(tl.float32) - middle)
    one *= factor
    other *= factor
    store_sums(partial, tl.sum(one, 0), tl.sum(other * norm, 0), CHANNELS, COLUMNS)


@triton.jit
def store_gradient(grad_x, x, at, mask, arriving, middle, away, slope, scale):
    """The gradient of one pixel of a cell, as ``triton_norm.backward_kernel`` has it."""
    values = tl.load(x + at, mask=mask, other=0.0).to(tl.float32) - middle
    found = (arriving - away - values * slope) * scale
    tl.store(grad_x + at, found.to(grad_x.dtype.element_ty), mask=mask)


@triton.jit
def pooled_backward_kernel(
    grad,
    x,
    winners,
    mean,
    inverse,
    weight,
    sums,
    grad_x,
    rows,
    values_of_group,
    batch,
    rows_per_part,
    factor,
    SPLITS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient towards ``x``, cell by cell.

    Where height or width is odd, the last cells reach over the edge: what is there was not pooled,
    and has a gradient through the statistics alone.
    """
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    norm = tl.load(inverse + place, mask=there, other=0.0)
    scale = norm * tl.load(weight + column, mask=there, other=0.0)
    all_of_one = tl.num_programs(1) * CHANNELS
    away = tl.load(sums + place, mask=there, other=0.0) / values_of_group
    slope = tl.load(sums + all_of_one + place, mask=there, other=0.0) / values_of_group * norm
    ACROSS: tl.constexpr = (WIDTH + 1) // 2
    CELLS: tl.constexpr = (HEIGHT + 1) // 2 * ACROSS
    for start in range(first, last, ROWS):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, CELLS)
        cell = row % CELLS
        y = cell // ACROSS
        x_cell = cell % ACROSS
        at = corner(cell, image, ACROSS, HEIGHT, WIDTH) * CHANNELS + column
        below = at + WIDTH * CHANNELS
        right = mask & (x_cell < WIDTH // 2) if WIDTH % 2 else mask
        under = mask & (y < HEIGHT // 2) if HEIGHT % 2 else mask
        pooled = right & under
        offset = ((image * (HEIGHT // 2) + y) * (WIDTH // 2) + x_cell) * CHANNELS + column
        winner = tl.load(winners + offset, mask=pooled, other=4)
        arriving = tl.load(grad + offset, mask=pooled, other=0.0).to(tl.float32) * factor
        one = tl.where(winner == 0, arriving, 0.0)
        two = tl.where(winner == 1, arriving, 0.0)
        three = tl.where(winner == 2, arriving, 0.0)
        four = tl.where(winner == 3, arriving, 0.0)
        store_gradient(grad_x, x, at, mask, one, middle, away, slope, scale)
        store_gradient(grad_x, x, at + CHANNELS, right, two, middle, away, slope, scale)
        store_gradient(grad_x, x, below, under, three, middle, away, slope, scale)
        store_gradient(grad_x, x, below + CHANNELS, pooled, four, middle, away, slope, scale)
