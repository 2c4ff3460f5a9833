"""Kernels of the contrastive loss: pairs, logits, weighted means of the keys, and their merging.

Logits are to the base 2, so that ``exp2`` needs no product: ``q . k / temperature / ln 2``. Sums of
weights are relative to the largest logit (online softmax: Milakov and Gimelshein,
arXiv:1805.02867, section 3). Nothing is added up by atomic operations: sums repeat bit by bit.

Padded queries and components are zero; of padded keys the logits are minus infinity.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def split(value, like):
    """``value`` as a sum of two numbers of the type of the pointer ``like``."""
    high = value.to(like.dtype.element_ty)
    return high, (value - high.to(tl.float32)).to(like.dtype.element_ty)


@triton.jit
def pack(source, pairs, block, rows, values, scale, DIM: tl.constexpr, WIDTH: tl.constexpr,
         BLOCK: tl.constexpr):  # fmt: skip
    """``BLOCK`` values of ``source (rows, DIM)`` into ``pairs (2, padded rows, WIDTH)``."""
    place = block * BLOCK + tl.arange(0, BLOCK)
    row, column = place // WIDTH, place % WIDTH
    inside = (row < rows) & (column < DIM)
    value = tl.load(source + row * DIM + column, mask=inside, other=0.0)
    high, low = split(value * scale, pairs)
    there = place < values
    tl.store(pairs + place, high, mask=there)
    tl.store(pairs + values + place, low, mask=there)


@triton.jit
def pack_kernel(
    query,
    query_pairs,
    keys,
    key_pairs,
    query_rows,
    query_values,
    query_blocks,
    key_rows,
    key_values,
    scale,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Queries and keys as pairs; ``values`` are those of one half, padding included."""
    block = tl.program_id(0)
    if block < query_blocks:
        pack(query, query_pairs, block, query_rows, query_values, scale, DIM, WIDTH, BLOCK)
    else:
        block -= query_blocks
        pack(keys, key_pairs, block, key_rows, key_values, scale, DIM, WIDTH, BLOCK)


@triton.jit
def logits_kernel(
    query_pairs,
    key_pairs,
    logits,
    tops,
    totals,
    rows,
    padded_keys,
    keys,
    factor,
    WIDTH: tl.constexpr,
    STORE: tl.constexpr,
    PROMOTE: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    INNER: tl.constexpr,
):
    """A tile of logits; of each query their largest, and the sum of the weights relative to it.

    Tensor cores cut a sum off after every 16 products (Fasi et al., PeerJ Computer Science 7:e330,
    2021), all the more the larger it is; with ``PROMOTE`` they sum ``INNER`` components only, and
    these sums are added up with rounding.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    key = tl.program_id(1) * KEYS + tl.arange(0, KEYS)
    inner = tl.arange(0, INNER)
    query_at = query_pairs + row[:, None] * WIDTH + inner[None, :]
    key_at = key_pairs + key[:, None] * WIDTH + inner[None, :]
    made = tl.zeros((ROWS, KEYS), tl.float32)
    for start in range(0, WIDTH, INNER):
        query_high = tl.load(query_at + start)
        query_low = tl.load(query_at + rows * WIDTH + start)
        key_high = tl.load(key_at + start)
        key_low = tl.load(key_at + padded_keys * WIDTH + start)
        # What both halves rounded off, below 2**-22 of the product, is left out.
        if PROMOTE:
            part = tl.dot(query_high, tl.trans(key_low))
            part = tl.dot(query_low, tl.trans(key_high), part)
            made += tl.dot(query_high, tl.trans(key_high), part)
        else:
            made = tl.dot(query_high, tl.trans(key_low), made)
            made = tl.dot(query_low, tl.trans(key_high), made)
            made = tl.dot(query_high, tl.trans(key_high), made)
    made = tl.where(key[None, :] < keys, made * factor, float("-inf"))
    top = tl.max(made, 1)
    place = tl.program_id(1) * rows + row
    tl.store(tops + place, top)
    tl.store(totals + place, tl.sum(tl.exp2(made - top[:, None]), 1))
    if STORE:
        tl.store(logits + row[:, None] * padded_keys + key[None, :], made)


@triton.jit
def mean_kernel(
    logits,
    key_pairs,
    tops,
    references,
    partial,
    rows,
    padded_keys,
    keys_per_split,
    tiles,
    WIDTH: tl.constexpr,
    FIRST: tl.constexpr,
    WEIGHT_BITS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    TILES: tl.constexpr,
):
    """The keys of a part of a chunk, summed with their weights, added to those of earlier chunks.

    Weights are relative to the largest logit of all chunks so far, the second row of
    ``references``; the sums so far to that of the chunks before, the first row.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    tile = tl.arange(0, TILES)
    of_tiles = tl.load(
        tops + tile[None, :] * rows + row[:, None], mask=tile[None, :] < tiles, other=float("-inf")
    )
    reference = tl.max(of_tiles, 1)
    sums_at = partial + (tl.program_id(2) * rows + row[:, None]) * WIDTH + column[None, :]
    if FIRST:
        made = tl.zeros((ROWS, COLUMNS), tl.float32)
    else:
        before = tl.load(references + row)
        reference = tl.maximum(reference, before)
        made = tl.load(sums_at) * tl.exp2(before - reference)[:, None]
    if (tl.program_id(1) == 0) & (tl.program_id(2) == 0):
        tl.store(references + rows + row, reference)
    shift = reference - WEIGHT_BITS
    first = tl.program_id(2) * keys_per_split
    last = tl.minimum(first + keys_per_split, padded_keys)
    for start in range(first, last, STEP):
        key = start + tl.arange(0, STEP)
        weight = tl.load(logits + row[:, None] * padded_keys + key[None, :])
        key_at = key_pairs + key[:, None] * WIDTH + column[None, :]
        key_high = tl.load(key_at)
        key_low = tl.load(key_at + padded_keys * WIDTH)
        weight_high, weight_low = split(tl.exp2(weight - shift[:, None]), key_pairs)
        made = tl.dot(weight_high, key_low, made)
        made = tl.dot(weight_low, key_high, made)
        made = tl.dot(weight_high, key_high, made)
    tl.store(sums_at, made)


@triton.jit
def merge_kernel(
    query,
    keys,
    tops,
    totals,
    references,
    partial,
    losses,
    gradient,
    queries,
    rows,
    tiles,
    splits,
    partner,
    factor,
    loss_scale,
    gradient_scale,
    mean_scale,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
    GRADIENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TILES: tl.constexpr,
):
    """The loss of each query and its gradient, from the sums of all tiles and parts.

    The positive of query ``i`` is key ``(i + partner) mod queries``. ``tops`` and ``totals`` are
    ``(tiles, rows)`` of all chunks; ``partial (splits, rows, WIDTH)`` is relative to ``references
    (rows,)``. Products of vectors become logits by ``factor``, losses are summed after
    ``loss_scale``, ``gradient_scale`` is the gradient of that sum towards a natural logit over the
    temperature, and ``mean_scale`` makes sums of split numbers sums.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = row < queries
    tile = tl.arange(0, TILES)
    top = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, tiles, TILES):
        mask = (start + tile < tiles)[None, :] & there[:, None]
        place = (start + tile)[None, :] * rows + row[:, None]
        of_tiles = tl.load(tops + place, mask=mask, other=float("-inf"))
        sums = tl.load(totals + place, mask=mask, other=0.0)
        before = top
        top = tl.maximum(before, tl.max(of_tiles, 1))
        shift = tl.where(there, top, 0.0)
        total *= tl.exp2(before - shift)
        total += tl.sum(sums * tl.exp2(of_tiles - shift[:, None]), 1)
    negative = top + tl.log2(total)
    column = tl.arange(0, COLUMNS)
    inside = there[:, None] & (column < DIM)[None, :]
    place = row[:, None] * DIM + column[None, :]
    key_place = ((row + partner) % queries)[:, None] * DIM + column[None, :]
    own = tl.load(query + place, mask=inside, other=0.0)
    positive = tl.load(keys + key_place, mask=inside, other=0.0)
    margin = negative - tl.sum(own * positive, 1) * factor
    # log2(1 + 2**margin), whose last places a small 2**-|margin| would lose in 1 + 2**-|margin|.
    small = tl.exp2(-tl.abs(margin))
    sum_ = 1.0 + small
    rest = tl.where(sum_ == 1.0, small * 1.4426950408889634, 0.0)
    rest = tl.where(
        sum_ == 1.0, rest, tl.log2(sum_) * (small / tl.where(sum_ == 1.0, 1.0, sum_ - 1.0))
    )
    loss = tl.where(margin > 0.0, margin, 0.0) + rest
    loss = tl.where(margin != margin, margin, loss)
    tl.store(losses + row, loss * loss_scale, mask=there)
    if GRADIENT:
        mean = tl.zeros((ROWS, COLUMNS), tl.float32)
        at = partial + row[:, None] * WIDTH + column[None, :]
        for number in range(splits):
            mean += tl.load(at + number * rows * WIDTH, mask=inside, other=0.0)
        reference = tl.load(references + row, mask=there, other=0.0)
        mean *= (tl.exp2(reference - negative) * mean_scale)[:, None]
        share = gradient_scale / (1.0 + tl.exp2(-margin))
        tl.store(gradient + place, (mean - positive) * share[:, None], mask=inside)


@triton.jit
def sum_kernel(values, out, count, BLOCK: tl.constexpr):
    """The sum of ``count`` values, by one program."""
    place = tl.arange(0, BLOCK)
    made = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, count, BLOCK):
        made += tl.load(values + start + place, mask=start + place < count, other=0.0)
    tl.store(out, tl.sum(made, 0))
