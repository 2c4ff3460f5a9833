"""How each kernel is launched: the numbers that only a measurement on a card can choose.

``tests/benchmarks/card/kernels.py --tiles`` times others beside these. A choice changes the order
of sums, so roundings, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple


class KernelChoice(NamedTuple):
    """The launch of one kernel.

    Attributes:
        tile: values of one tensor that a program loads at once, a power of two. Of bfloat16, 8 for
            each thread are a load of 16 bytes.
        unroll: such tiles whose loads are under way together, where a kernel sums.
        warps: of 32 threads, of a program.
        programs: wanted of the kernel, at most as many as there are tiles. 132 multiprocessors (of
            an H100 or H200) hold four of 8 warps each where a thread has up to 64 registers, three
            up to 80; sums of more programs take longer to merge.
    """

    tile: int
    unroll: int
    warps: int
    programs: int


CHOICES = {
    "statistics": KernelChoice(tile=2048, unroll=4, warps=8, programs=528),
    "apply": KernelChoice(tile=4096, unroll=1, warps=8, programs=528),
    "reduce": KernelChoice(tile=2048, unroll=2, warps=8, programs=396),
    "backward": KernelChoice(tile=2048, unroll=1, warps=8, programs=528),
    # Of cells, each of which is four values.
    "pooled_apply": KernelChoice(tile=2048, unroll=1, warps=8, programs=2112),
    "pooled_reduce": KernelChoice(tile=2048, unroll=1, warps=8, programs=528),
    "pooled_backward": KernelChoice(tile=2048, unroll=1, warps=8, programs=2112),
    # Of the output.
    "stem": KernelChoice(tile=4096, unroll=1, warps=4, programs=1056),
    "stem_gradient": KernelChoice(tile=4096, unroll=1, warps=4, programs=528),
}
"""By the kernel's name, without "kernel"."""

MERGE_COLUMNS = 4
"""Channels of a program that merges sums: 16 bytes of a row, so that there are many programs."""
MERGE_TILE = 1024
"""Parts of all groups that a merging program reads at once."""
MERGE_WARPS = 8
