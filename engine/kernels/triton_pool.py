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
def four_words(key, place):
    """``tl.randint4x(key, place)`` for int64 ``place``, with each product of 64 bits made at once.

    Triton's own multiplies twice, for the upper and the lower half.
    """
    low, high = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    one, two = place.to(tl.uint32), (place >> 32).to(tl.uint32)
    three = tl.zeros_like(one)
    four = tl.zeros_like(one)
    for _ in tl.static_range(10):
        first = one.to(tl.uint64) * 0xD2511F53
        third = three.to(tl.uint64) * 0xCD9E8D57
        one = (third >> 32).to(tl.uint32) ^ two ^ low
        two = third.to(tl.uint32)
        three = (first >> 32).to(tl.uint32) ^ four ^ high
        four = first.to(tl.uint32)
        low = tl.add(low, 0x9E3779B9, sanitize_overflow=False)
        high = tl.add(high, 0xBB67AE85, sanitize_overflow=False)
    return one, two, three, four


@triton.jit
def larger(one, two):
    """NaN where one of both is, as in torch."""
    return tl.maximum(one, two, propagate_nan=tl.PropagateNan.ALL)


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
        # The upper 24 bits of a word decide: those below never make it reach the bound.
        bound = tl.cast(threshold, tl.uint32) << 8  # a threshold of 1 is a constant
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
            # Adds nothing, for a threshold is never negative. But it leads Triton to compute the
            # words where the values are: it would compute them in threads of its own choice, and
            # hand them over through shared memory.
            nothing = tl.where(threshold < 0, one.to(tl.int32, bitcast=True), 0)
            bits_1, bits_2, bits_3, bits_4 = four_words(key, offset + nothing)
            one = tl.where(bits_1 >= bound, one, 0.0)
            two = tl.where(bits_2 >= bound, two, 0.0)
            three = tl.where(bits_3 >= bound, three, 0.0)
            four = tl.where(bits_4 >= bound, four, 0.0)
        best = larger(larger(one, two), larger(three, four))
        tl.store(out + offset, larger(best, 0.0).to(out.dtype.element_ty), mask=mask)
        if WINNERS:
            # The first of equals.
            winner = tl.where(three == best, 2, 3)
            winner = tl.where(two == best, 1, winner)
            winner = tl.where(one == best, 0, winner)
            winner = tl.where(best <= 0.0, 4, winner)
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
    store_sums(partial, one, other * norm, CHANNELS, COLUMNS)


@triton.jit
def gradient_of(x, arriving, middle, away, slope, scale):
    """The gradient of one pixel of each cell, as ``triton_norm.backward_kernel`` has it."""
    values = x.to(tl.float32) - middle
    return ((arriving - away - values * slope) * scale).to(x.dtype)


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
        # All are under way before the first is stored: no load passes a store.
        one = tl.load(x + at, mask=mask, other=0.0)
        two = tl.load(x + at + CHANNELS, mask=right, other=0.0)
        three = tl.load(x + below, mask=under, other=0.0)
        four = tl.load(x + below + CHANNELS, mask=pooled, other=0.0)
        of_one = tl.where(winner == 0, arriving, 0.0)
        of_two = tl.where(winner == 1, arriving, 0.0)
        of_three = tl.where(winner == 2, arriving, 0.0)
        of_four = tl.where(winner == 3, arriving, 0.0)
        one = gradient_of(one, of_one, middle, away, slope, scale)
        two = gradient_of(two, of_two, middle, away, slope, scale)
        three = gradient_of(three, of_three, middle, away, slope, scale)
        four = gradient_of(four, of_four, middle, away, slope, scale)
        tl.store(grad_x + at, one, mask=mask)
        tl.store(grad_x + at + CHANNELS, two, mask=right)
        tl.store(grad_x + below, three, mask=under)
        tl.store(grad_x + below + CHANNELS, four, mask=pooled)
