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
    """Two sums ``(COLUMNS,)`` of this part into ``partial (2, groups, parts, C)``."""
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    place = (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)) * CHANNELS + column
    behind = tl.num_programs(1) * tl.num_programs(0) * CHANNELS
    tl.store(partial + place, one, mask=column < CHANNELS)
    tl.store(partial + behind + place, other, mask=column < CHANNELS)


@triton.jit
def origin_of(
    x,
    group,
    column,
    mask,
    batch,
    SPLITS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """The first value of groups in each channel."""
    image = (group // SPLITS * batch + group % SPLITS).to(tl.int64)
    return tl.load(x + image * PIXELS * CHANNELS + column, mask=mask, other=0.0).to(tl.float32)


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
):
    """Mean of each part and channel, and sum of squared distances to it; reads ``x`` once.

    The mean is given from the first value of its group on (``origin_of``): float32 would round one
    that is far from zero by more than the means of two parts differ.

    Sums are of distances to the mean of the part's first tile. That is the mean of one of T tiles,
    so it is at most sqrt(T) standard deviations from the mean of the part, whatever the values are:
    the difference of the two sums of squares loses a factor T + 1 and no more.
    """
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]

    row = first + lane
    mask = (row < last) & there
    offset = (image_of_row(row, batch, SPLITS, PIXELS) * PIXELS + row % PIXELS) * CHANNELS + column
    values = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32)
    shift = tl.sum(values, 0) / tl.minimum(last - first, ROWS)

    one = tl.zeros((ROWS, COLUMNS), tl.float32)
    other = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
        row = start + lane
        mask = (row < last) & there
        image = image_of_row(row, batch, SPLITS, PIXELS)
        offset = (image * PIXELS + row % PIXELS) * CHANNELS + column
        values = tl.load(x + offset, mask=mask, other=0.0).to(tl.float32)
        distance = tl.where(mask, values - shift[None, :], 0.0)
        one += distance
        other += distance * distance
    total = tl.sum(one, 0)
    squares = tl.sum(other, 0) - total * (total / (last - first))
    squares = tl.where(squares < 0.0, 0.0, squares)  # keeps what is no number
    group = tl.program_id(1)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    origin = origin_of(x, group, column, column < CHANNELS, batch, SPLITS, PIXELS, CHANNELS)
    store_sums(partial, shift - origin + total / (last - first), squares, CHANNELS, COLUMNS)


@triton.jit
def merge_statistics_kernel(
    x,
    partial,
    mean,
    inverse,
    running_mean,
    running_var,
    batches,
    rows,
    batch,
    rows_per_part,
    eps,
    momentum,
    VIEWS: tl.constexpr,
    SPLITS: tl.constexpr,
    PIXELS: tl.constexpr,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPLITS_TILE: tl.constexpr,
    PARTS_TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Statistics of the groups from those of their parts, and the running ones moved by them.

    Parts are merged as Chan, Golub and LeVeque do (1983, eq. 2.1): squares within the parts, plus
    those of the distances of their means.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    there = column < CHANNELS
    part = tl.arange(0, PARTS_TILE)
    count = tl.minimum(tl.maximum(rows - part * rows_per_part, 0), rows_per_part)
    count = tl.where(part < PARTS, count, 0).to(tl.float32)[None, :, None]
    average = tl.load(running_mean + column, mask=there, other=0.0)
    spread = tl.load(running_var + column, mask=there, other=0.0)
    for view in range(VIEWS):
        means = tl.zeros((COLUMNS,), tl.float32)
        variances = tl.zeros((COLUMNS,), tl.float32)
        for start in range(0, SPLITS, SPLITS_TILE):
            split = start + tl.arange(0, SPLITS_TILE)
            group = view * SPLITS + split
            place = (group[:, None, None] * PARTS + part[None, :, None]) * CHANNELS
            place += column[None, None, :]
            mask = (split < SPLITS)[:, None, None] & (part < PARTS)[None, :, None]
            mask = mask & there[None, None, :]
            local = tl.load(partial + place, mask=mask, other=0.0)
            behind = VIEWS * SPLITS * PARTS * CHANNELS
            squares = tl.load(partial + behind + place, mask=mask, other=0.0)
            middle = tl.sum(local * count, 1) / rows
            away = tl.where(mask, local - middle[:, None, :], 0.0)
            total = tl.sum(squares + away * away * count, 1)
            place = group[:, None] * CHANNELS + column[None, :]
            mask = (split < SPLITS)[:, None] & there[None, :]
            found = middle + origin_of(
                x, group[:, None], column[None, :], mask, batch, SPLITS, PIXELS, CHANNELS
            )
            tl.store(mean + place, found, mask=mask)
            tl.store(inverse + place, 1.0 / tl.sqrt_rn(total / rows + eps), mask=mask)
            means += tl.sum(tl.where(mask, found, 0.0), 0)
            variances += tl.sum(tl.where(mask, total, 0.0), 0)
        average += momentum * (means / SPLITS - average)
        spread += momentum * (variances / (rows - 1) / SPLITS - spread)
    tl.store(running_mean + column, average, mask=there)
    tl.store(running_var + column, spread, mask=there)
    if tl.program_id(0) == 0:
        tl.store(batches, tl.load(batches) + VIEWS)


@triton.jit
def merge_gradients_kernel(
    partial,
    sums,
    gradients,
    VIEWS: tl.constexpr,
    SPLITS: tl.constexpr,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SPLITS_TILE: tl.constexpr,
    PARTS_TILE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sums of the groups from those of their parts, and the gradients of bias and weight.

    ``partial (2, G, parts, C)`` to ``sums (2, G, C)`` and ``gradients (2, C)``.
    """
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    there = column < CHANNELS
    part = tl.arange(0, PARTS_TILE)
    GROUPS: tl.constexpr = VIEWS * SPLITS
    for which in tl.static_range(2):
        whole = tl.zeros((COLUMNS,), tl.float32)
        for start in range(0, GROUPS, SPLITS_TILE):
            group = start + tl.arange(0, SPLITS_TILE)
            place = (
                (which * GROUPS + group[:, None, None]) * PARTS + part[None, :, None]
            ) * CHANNELS
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
):
    """Of each part, the sum of the gradients, and of those times the normalised values.

    What ReLU let pass is computed again from ``x``, as the forward pass did. With a residual it is
    read from ``out``, and the gradient that it lets pass is written to ``masked``.
    """
    first, last = rows_of_part(rows, rows_per_part)
    column, there = columns_of_block(CHANNELS, COLUMNS)
    lane = tl.arange(0, ROWS)[:, None]
    place = tl.program_id(1) * CHANNELS + column
    middle = tl.load(mean + place, mask=there, other=0.0)
    norm = tl.load(inverse + place, mask=there, other=0.0)
    scale = norm * tl.load(weight + column, mask=there, other=0.0)
    offset_by = tl.load(bias + column, mask=there, other=0.0)
    one = tl.zeros((ROWS, COLUMNS), tl.float32)
    other = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(first, last, ROWS):
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
        one += arriving
        # Rows that are not there have no gradient, but distances to the mean.
        other += arriving * values
    store_sums(partial, tl.sum(one, 0), tl.sum(other * norm, 0), CHANNELS, COLUMNS)


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
