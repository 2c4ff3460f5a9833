"""Kernels around the embeddings of a step: unit length, the keys' order, and their queue."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def unit_kernel(
    x,
    order,
    out,
    rows,
    least,
    DIM: tl.constexpr,
    ORDERED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Row ``i`` of ``x (rows, DIM)`` over its length, at least ``least``, to row ``order[i]``."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    there = row < rows
    inside = there[:, None] & (column < DIM)[None, :]
    value = tl.load(x + row[:, None] * DIM + column[None, :], mask=inside, other=0.0).to(tl.float32)
    length = tl.sqrt(tl.sum(value * value, 1))
    # So that a length that is no number stays none.
    length = tl.where(length < least, least, length)
    target = row
    if ORDERED:
        target = tl.load(order + row, mask=there, other=0)
    tl.store(out + target[:, None] * DIM + column[None, :], value / length[:, None], mask=inside)


@triton.jit
def unit_backward_kernel(
    grad,
    x,
    grad_x,
    rows,
    least,
    DIM: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The gradient towards ``x``; of a row shorter than ``least`` its length has no part in it."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < DIM)[None, :]
    place = row[:, None] * DIM + column[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    arriving = tl.load(grad + place, mask=inside, other=0.0)
    length = tl.sqrt(tl.sum(value * value, 1))
    short = length < least
    length = tl.where(short, least, length)
    unit = value / length[:, None]
    along = tl.where(short, 0.0, tl.sum(arriving * unit, 1))
    found = (arriving - along[:, None] * unit) / length[:, None]
    tl.store(grad_x + place, found.to(grad_x.dtype.element_ty), mask=inside)


@triton.jit
def order_kernel(first, second, order, count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Sorts by counting: a number comes behind all smaller ones, and behind equal ones before it.

    The numbers of the first view for the programs whose second index is 0, else those of the
    second, whose places in ``order`` and images follow those of the first.
    """
    view = tl.program_id(1)
    numbers = first if view == 0 else second
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    own = tl.load(numbers + row, mask=row < count, other=0.0)
    rank = tl.zeros((ROWS,), tl.int32)
    for start in range(0, count, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        other = tl.load(numbers + column, mask=column < count, other=float("inf"))
        before = other[None, :] < own[:, None]
        before |= (other[None, :] == own[:, None]) & (column[None, :] < row[:, None])
        rank += tl.sum(before.to(tl.int32), 1)
    image = (view * count + row).to(tl.int64)
    tl.store(order + view * count + rank, image, mask=row < count)


@triton.jit
def enqueue_kernel(
    queue,
    pointer,
    keys,
    size,
    skipped,
    rows,
    DIM: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Keys from ``skipped`` on into ``queue (size, DIM)``, from ``pointer`` on and around."""
    row = skipped + tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)
    inside = (row < rows)[:, None] & (column < DIM)[None, :]
    slot = (tl.load(pointer) + row) % size
    value = tl.load(keys + row[:, None] * DIM + column[None, :], mask=inside, other=0.0)
    tl.store(queue + slot[:, None] * DIM + column[None, :], value, mask=inside)


@triton.jit
def advance_kernel(pointer, size, count):
    """The pointer behind ``count`` keys: after all programs of ``enqueue_kernel`` have read it."""
    tl.store(pointer, (tl.load(pointer) + count) % size)
