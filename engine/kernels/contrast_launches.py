"""Launches of the kernels of the contrastive loss and of what stands around it.

The functions are those of ``contrast_block`` on a card. Inputs are contiguous; all but the rows
that are made unit vectors, and their order, are float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.kernels import contrast_plan
from engine.kernels.contrast_plan import MERGE_TILES, MERGE_VALUES, PACK_BLOCK, SCALE, WEIGHT_BITS
from engine.kernels.group_tiles import power_of_two
from engine.kernels.launches import wrap_triton
from engine.kernels.triton_contrast import (
    logits_kernel,
    mean_kernel,
    merge_kernel,
    pack_kernel,
    sum_kernel,
)
from engine.kernels.triton_keys import (
    advance_kernel,
    enqueue_kernel,
    order_kernel,
    unit_backward_kernel,
    unit_kernel,
)

PAIRS = torch.float16
"""What a float32 is split into two of; bfloat16 is as fast and leaves 2**-16 of a product out."""
LEAST_LENGTH = 1e-12
"""As in ``torch.nn.functional.normalize``."""
_ORDER_ROWS, _ORDER_COLUMNS = 32, 256
_SUM_BLOCK = 1024


def shared_memory(device: torch.device) -> int:
    """Bytes that a program can have on a device; where that is unknown, what any card has."""
    if device.type != "cuda":
        return 227 * 1024
    facts = torch.cuda.get_device_properties(device)
    return int(getattr(facts, "shared_memory_per_block_optin", 48 * 1024))


def launch_contrast(
    query: Tensor,
    keys: Tensor,
    queue: Tensor,
    temperature: float,
    symmetric: bool,
    gradient: bool,
) -> tuple[Tensor, Tensor]:
    """As in ``contrast_block.contrast``."""
    n, dim = query.shape
    made = contrast_plan.plan(n, len(queue), dim, memory=shared_memory(query.device))
    sizes, rows, width = made.sizes, made.rows, made.width
    chunks = made.chunks(len(queue))
    new = query.new_empty
    query_pairs = new((2, rows, width), dtype=PAIRS)
    key_pairs = new((2, made.chunk, width), dtype=PAIRS)
    tops, totals = new((len(chunks) * made.tiles, rows)), new((len(chunks) * made.tiles, rows))
    logits = new((rows, made.chunk)) if gradient else new(1)
    partial = new((made.splits, rows, width)) if gradient else new(1)
    references = new((len(chunks) + 1, rows)) if gradient else new(1)
    query_blocks = -(-rows * width // PACK_BLOCK)
    count = 0  # tiles so far
    for number, chunk in enumerate(chunks):
        tiles = -(-len(chunk) // sizes.keys)
        padded = tiles * sizes.keys
        blocks = 0 if number else query_blocks
        wrap_triton(pack_kernel)[(blocks + -(-padded * width // PACK_BLOCK),)](
            query,
            query_pairs,
            queue[chunk.start :],
            key_pairs,
            n,
            rows * width,
            blocks,
            len(chunk),
            padded * width,
            SCALE,
            DIM=dim,
            WIDTH=width,
            BLOCK=PACK_BLOCK,
            num_warps=contrast_plan.WARPS,
        )
        wrap_triton(logits_kernel)[(rows // sizes.rows, tiles)](
            query_pairs,
            key_pairs,
            logits,
            tops[count:],
            totals[count:],
            rows,
            padded,
            len(chunk),
            1.0 / (SCALE * SCALE * temperature * math.log(2.0)),
            WIDTH=width,
            STORE=gradient,
            PROMOTE=sizes.promote,
            ROWS=sizes.rows,
            KEYS=sizes.keys,
            INNER=sizes.inner,
            num_warps=contrast_plan.WARPS,
            num_stages=made.logits_stages,
        )
        if gradient:
            grid = (rows // sizes.mean_rows, width // sizes.width, made.splits)
            wrap_triton(mean_kernel)[grid](
                logits,
                key_pairs,
                tops[count:],
                references[number:],
                partial,
                rows,
                padded,
                made.keys_per_split,
                tiles,
                WIDTH=width,
                FIRST=number == 0,
                WEIGHT_BITS=WEIGHT_BITS,
                ROWS=sizes.mean_rows,
                COLUMNS=sizes.width,
                STEP=sizes.step,
                TILES=power_of_two(made.tiles),
                num_warps=contrast_plan.WARPS,
                num_stages=made.mean_stages,
            )
        count += tiles
    losses, loss = new(n), new(())
    found = torch.empty_like(query) if gradient else new(0)
    pairs = n // 2 if symmetric else n
    columns = power_of_two(dim)
    at_once = max(MERGE_VALUES // columns, 1)
    wrap_triton(merge_kernel)[(-(-n // at_once),)](
        query,
        keys,
        tops,
        totals,
        references[len(chunks)] if gradient else references,
        partial,
        losses,
        found if gradient else losses,
        n,
        rows,
        count,
        made.splits,
        pairs if symmetric else 0,
        1.0 / (temperature * math.log(2.0)),
        math.log(2.0) / pairs,
        1.0 / (pairs * temperature),
        2.0**-WEIGHT_BITS / SCALE,
        DIM=dim,
        WIDTH=width,
        GRADIENT=gradient,
        ROWS=at_once,
        COLUMNS=columns,
        TILES=min(MERGE_TILES, power_of_two(count)),
        num_warps=4,
    )
    wrap_triton(sum_kernel)[(1,)](losses, loss, n, BLOCK=_SUM_BLOCK, num_warps=4)
    return loss, found


def launch_unit_rows(x: Tensor, order: Tensor | None) -> Tensor:
    """As in ``contrast_block.unit_rows``."""
    rows, dim = x.shape
    out = torch.empty_like(x, dtype=torch.float32)
    columns = power_of_two(dim)
    at_once = max(MERGE_VALUES // columns, 1)
    wrap_triton(unit_kernel)[(-(-rows // at_once),)](
        x,
        x if order is None else order,
        out,
        rows,
        LEAST_LENGTH,
        DIM=dim,
        ORDERED=order is not None,
        ROWS=at_once,
        COLUMNS=columns,
        num_warps=4,
    )
    return out


def launch_unit_rows_backward(grad: Tensor, x: Tensor) -> Tensor:
    """As in ``contrast_block.unit_rows_backward``."""
    rows, dim = x.shape
    grad_x = torch.empty_like(x)
    columns = power_of_two(dim)
    at_once = max(MERGE_VALUES // columns, 1)
    wrap_triton(unit_backward_kernel)[(-(-rows // at_once),)](
        grad,
        x,
        grad_x,
        rows,
        LEAST_LENGTH,
        DIM=dim,
        ROWS=at_once,
        COLUMNS=columns,
        num_warps=4,
    )
    return grad_x


def launch_order(first: Tensor, second: Tensor | None) -> Tensor:
    """As in ``contrast_block.order_of``."""
    count, views = len(first), 1 if second is None else 2
    order = first.new_empty(views * count, dtype=torch.int64)
    wrap_triton(order_kernel)[(-(-count // _ORDER_ROWS), views)](
        first,
        first if second is None else second,
        order,
        count,
        ROWS=_ORDER_ROWS,
        COLUMNS=_ORDER_COLUMNS,
        num_warps=4,
    )
    return order


def launch_enqueue(queue: Tensor, pointer: Tensor, keys: Tensor) -> None:
    """As in ``contrast_block.enqueue``."""
    (size, dim), count = queue.shape, len(keys)
    kept = min(size, count)
    columns = power_of_two(dim)
    at_once = max(MERGE_VALUES // columns, 1)
    wrap_triton(enqueue_kernel)[(-(-kept // at_once),)](
        queue,
        pointer,
        keys,
        size,
        count - kept,
        count,
        DIM=dim,
        ROWS=at_once,
        COLUMNS=columns,
        num_warps=4,
    )
    wrap_triton(advance_kernel)[(1,)](pointer, size, count, num_warps=1)
