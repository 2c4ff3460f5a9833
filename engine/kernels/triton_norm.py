"""BatchNorm over groups, plus another tensor, then ReLU: the kernels of both directions.

``x`` is ``(N, C, H, W)`` in channels_last, so row ``n * H * W + pixel`` has ``C`` neighbours. Group
``v * SPLITS + s`` has the images ``v * batch + a * SPLITS + s`` for ``a`` = 0, 1, ... Programs are
shared out as in ``group_tiles``: axis 0 are the parts of a group, axis 1 the groups, axis 2 blocks
of channels. Sums go in two stages and in an order of their own, without atomics: the same input
gives the same bits. All arithmetic is float32.
"""

# Triton reads annotations of parameters as objects: no "from __future__ import annotations".

import triton
import triton.language as tl


@triton.jit
def rows_of_part(rows, rows_per_part):
    """The first row of this program's part, and the one behind its last."""
    first = tl.program_id(0) * rows_per_part
    return first, tl.minimum(first + rows_per_part, rows)


@triton.jit
def image_of_row(row, batch, SPLITS: tl.constexpr, PIXELS: tl.constexpr):
    """The images of rows of this program's group, int64: there may be 2**31 values or more."""
    group = tl.program_id(1)
    image = group // SPLITS * batch + row // PIXELS * SPLITS + group % SPLITS
    return image.to(tl.int64)


@triton.jit
def columns_of_block(CHANNELS: tl.constexpr, COLUMNS: tl.constexpr):
    """The channels of this program, ``(1, COLUMNS)``, and which of them there are."""
    column = (tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    return column, column < CHANNELS


@triton.jit
def store_sums(partial, one, other, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr):
    """The sums over the rows of two tiles, into ``partial (2, groups, parts, C)``."""
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    place = (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)) * CHANNELS + column
    behind = tl.num_programs(1) * tl.num_programs(0) * CHANNELS
    # Side by side, so that threads wait for each other once.
    one, other = tl.split(tl.sum(tl.join(one, other), 0))
    tl.store(partial + place, one, mask=column < CHANNELS)
    tl.store(partial + behind + place, other, mask=column < CHANNELS)


@triton.jit
def store_statistics(
    partial, shift, one, other, count, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Of a part, into ``partial (3, groups, parts, C)``: ``merge_statistics_kernel`` reads it.

    ``one`` and ``other`` ``(ROWS, COLUMNS)`` hold sums of distances to ``shift (COLUMNS,)`` and of
    their squares, of ``count`` rows.
    """
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    there = column < CHANNELS
    place = (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)) * CHANNELS + column
    behind = tl.num_programs(1) * tl.num_programs(0) * CHANNELS
    total, squares = tl.split(tl.sum(tl.join(one, other), 0))
    squares -= total * (total / count)
    squares = tl.where(squares < 0.0, 0.0, squares)  # keeps what is no number
    tl.store(partial + place, shift, mask=there)
    tl.store(partial + behind + place, total / count, mask=there)
    tl.store(partial + 2 * behind + place, squares, mask=there)


@triton.jit
def folded(values, ROWS: tl.constexpr, COLUMNS: tl.constexpr, UNROLL: tl.constexpr):
    """``(UNROLL * ROWS, COLUMNS)`` to sums ``(ROWS, COLUMNS)``: each thread adds values of its own.

    So the loads of several tiles are under way at once, and one tile of sums takes registers.
    """
    return tl.sum(tl.reshape(values, (UNROLL, ROWS, COLUMNS)), 0)


@triton.jit
def statistics_kernel(
    x,
    partial,
    rows,
    batch,
    rows_per_part,
    SPLITS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Mean of each part and channel, and sum of squared distances to it; reads ``x`` once.

    Sums are of distances to the mean of the part's first tile. That is the mean of one of T tiles,
    so it is at most sqrt(T) standard deviations from the mean of the part, whatever the values are:
    the difference of the two sums of squares loses a factor T + 1 and no more. The mean is given
    from there on, too: float32 would round one that is far from zero by more than the means of two
    parts differ.
    """
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]

    begin = first + lane
    valid = (begin < last) & there
    place = image_of_row(begin, batch, SPLITS, PIXELS) * PIXELS + begin % PIXELS
    tile = tl.load(x + place * CHANNELS + column, mask=valid, other=0.0).to(tl.float32)
    shift = tl.sum(tile, 0) / tl.minimum(last - first, ROWS)
    one = tl.where(valid, tile - shift[None, :], 0.0)
    other = one * one
    lanes = tl.arange(0, ROWS * UNROLL)[:, None]
    for start in range(first + ROWS, last, ROWS * UNROLL):
        row = start + lanes
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, PIXELS)
        offset = (image * PIXELS + row % PIXELS) * CHANNELS + column
        values = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32)
        distance = tl.where(mask, values - shift[None, :], 0.0)
        one += folded(distance, ROWS, COLUMNS, UNROLL)
        other += folded(distance * distance, ROWS, COLUMNS, UNROLL)
    store_statistics(partial, shift, one, other, last - first, CHANNELS, COLUMNS)


@triton.jit
def merge_statistics_kernel(
    partial,
    mean,
    inverse,
    running_mean,
    running_var,
    batches,
    rows,
    rows_per_part,
    eps,
    momentum,
    VIEWS: tl.constexpr,
    SPLITS: tl.constexpr,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    GROUPS_TILE: tl.constexpr,
    PARTS_TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Statistics of the groups from those of their parts, and the running ones moved by them.

    Parts are merged as Chan, Golub and LeVeque do (1983, eq. 2.1): squares within the parts, plus
    those of the distances of their means. Those are taken from the shift of a group's first part
    on. One view after another moves the running statistics by ``momentum``: the last by all of it,
    the one before by what that leaves, and so on.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    there = column < CHANNELS
    part = tl.arange(0, PARTS_TILE)
    count = tl.minimum(tl.maximum(rows - part * rows_per_part, 0), rows_per_part)
    count = tl.where(part < PARTS, count, 0).to(tl.float32)[None, :, None]
    GROUPS: tl.constexpr = VIEWS * SPLITS
    BEHIND: tl.constexpr = GROUPS * PARTS * CHANNELS
    average = tl.load(running_mean + column, mask=there, other=0.0)
    spread = tl.load(running_var + column, mask=there, other=0.0)
    for _ in tl.static_range(VIEWS):
        average *= 1.0 - momentum
        spread *= 1.0 - momentum
    for start in range(0, GROUPS, GROUPS_TILE):
        group = start + tl.arange(0, GROUPS_TILE)
        at_first = group[:, None] * (PARTS * CHANNELS) + column[None, :]
        place = at_first[:, None, :] + (part * CHANNELS)[None, :, None]
        of_group = (group < GROUPS)[:, None] & there[None, :]
        mask = of_group[:, None, :] & (part < PARTS)[None, :, None]
        origin = tl.load(partial + at_first, mask=of_group, other=0.0)
        shift = tl.load(partial + place, mask=mask, other=0.0)
        local = tl.load(partial + BEHIND + place, mask=mask, other=0.0)
        squares = tl.load(partial + 2 * BEHIND + place, mask=mask, other=0.0)
        local = tl.where(mask, shift - origin[:, None, :] + local, 0.0)
        middle = tl.sum(local * count, 1) / rows
        away = tl.where(mask, local - middle[:, None, :], 0.0)
        total = tl.sum(squares + away * away * count, 1)
        found = middle + origin
        place = group[:, None] * CHANNELS + column[None, :]
        tl.store(mean + place, found, mask=of_group)
        tl.store(inverse + place, 1.0 / tl.sqrt_rn(total / rows + eps), mask=of_group)
        share = tl.where(group < GROUPS, momentum / SPLITS, 0.0)
        for view in tl.static_range(1, VIEWS):
            share *= tl.where(group < view * SPLITS, 1.0 - momentum, 1.0)
        average += tl.sum(found * share[:, None], 0)
        spread += tl.sum(total / (rows - 1) * share[:, None], 0)
    tl.store(running_mean + column, average, mask=there)
    tl.store(running_var + column, spread, mask=there)
    if tl.program_id(0) == 0:
        tl.store(batches, tl.load(batches) + VIEWS)


@triton.jit
def merge_gradients_kernel(
    partial,
    sums,
    gradients,
    GROUPS: tl.constexpr,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    GROUPS_TILE: tl.constexpr,
    PARTS_TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sums of the groups from those of their parts, and the gradients of bias and weight.

    ``partial (2, G, parts, C)`` to ``sums (2, G, C)`` and ``gradients (2, C)``.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    there = column < CHANNELS
    part = tl.arange(0, PARTS_TILE)
    # One axis of the launch is which of the two sums.
    which = tl.program_id(1)
    whole = tl.zeros((COLUMNS,), tl.float32)
    for start in range(0, GROUPS, GROUPS_TILE):
        group = start + tl.arange(0, GROUPS_TILE)
        place = ((which * GROUPS + group[:, None, None]) * PARTS + part[None, :, None]) * CHANNELS
        place += column[None, None, :]
        mask = (group < GROUPS)[:, None, None] & (part < PARTS)[None, :, None]
        mask = mask & there[None, None, :]
        total = tl.sum(tl.load(partial + place, mask=mask, other=0.0), 1)
        place = (which * GROUPS + group[:, None]) * CHANNELS + column[None, :]
        tl.store(sums + place, total, mask=(group < GROUPS)[:, None] & there[None, :])
        whole += tl.sum(total, 0)
    tl.store(gradients + which * CHANNELS + column, whole, mask=there)


@triton.jit
def apply_kernel(
    x,
    residual,
    mean,
    inverse,
    weight,
    bias,
    out,
    rows,
    batch,
    rows_per_part,
    SPLITS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The output; reads ``x`` and ``residual`` once."""
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    scale = tl.load(inverse + place, mask=there, other=0.0)
    scale *= tl.load(weight + column, mask=there, other=0.0)
    offset_by = tl.load(bias + column, mask=there, other=0.0)
    for start in range(first, last, ROWS):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, PIXELS)
        offset = (image * PIXELS + row % PIXELS) * CHANNELS + column
        values = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32)
        values = tl.fma(values - middle, scale, offset_by)
        if RESIDUAL:
            values += tl.load(residual + offset, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            values = tl.where(values <= 0.0, 0.0, values)  # keeps what is no number
        tl.store(out + offset, values.to(out.dtype.element_ty), mask=mask)


@triton.jit
def reduce_kernel(
    grad,
    x,
    out,
    masked,
    mean,
    inverse,
    weight,
    bias,
    partial,
    rows,
    batch,
    rows_per_part,
    SPLITS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Of each part, the sum of the gradients, and of those times the normalised values.

    What ReLU let pass is computed again from ``x``, as the forward pass did. With a residual it is
    read from ``out``, and the gradient that it lets pass is written to ``masked``.
    """
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS * UNROLL)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    norm = tl.load(inverse + place, mask=there, other=0.0)
    scale = norm * tl.load(weight + column, mask=there, other=0.0)
    offset_by = tl.load(bias + column, mask=there, other=0.0)
    one = tl.zeros((ROWS, COLUMNS), tl.float32)
    other = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, last, ROWS * UNROLL):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, PIXELS)
        offset = (image * PIXELS + row % PIXELS) * CHANNELS + column
        arriving = tl.load(grad + offset, mask=mask, other=0.0).to(tl.float32)
        values = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32) - middle
        if RELU:
            if RESIDUAL:
                made = tl.load(out + offset, mask=mask, other=0.0).to(tl.float32)
                arriving = tl.where(made <= 0.0, 0.0, arriving)
                tl.store(masked + offset, arriving.to(masked.dtype.element_ty), mask=mask)
            else:
                arriving = tl.where(tl.fma(values, scale, offset_by) <= 0.0, 0.0, arriving)
        # Rows that are not there have no gradient, but distances to the mean.
        one += folded(arriving, ROWS, COLUMNS, UNROLL)
        other += folded(arriving * values, ROWS, COLUMNS, UNROLL)
    store_sums(partial, one, other * norm, CHANNELS, COLUMNS)


@triton.jit
def backward_kernel(
    grad,
    x,
    mean,
    inverse,
    weight,
    bias,
    sums,
    grad_x,
    rows,
    batch,
    rows_per_part,
    SPLITS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient towards ``x`` (Ioffe and Szegedy, arXiv:1502.03167, section 3)."""
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    norm = tl.load(inverse + place, mask=there, other=0.0)
    scale = norm * tl.load(weight + column, mask=there, other=0.0)
    offset_by = tl.load(bias + column, mask=there, other=0.0)
    all_of_one = tl.num_programs(1) * CHANNELS
    away = tl.load(sums + place, mask=there, other=0.0) / rows
    slope = tl.load(sums + all_of_one + place, mask=there, other=0.0) / rows * norm
    for start in range(first, last, ROWS):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, PIXELS)
        offset = (image * PIXELS + row % PIXELS) * CHANNELS + column
        arriving = tl.load(grad + offset, mask=mask, other=0.0).to(tl.float32)
        values = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32) - middle
        if RELU:
            arriving = tl.where(tl.fma(values, scale, offset_by) <= 0.0, 0.0, arriving)
        found = (arriving - away - values * slope) * scale
        tl.store(grad_x + offset, found.to(grad_x.dtype.element_ty), mask=mask)
