"""How the contrastive loss of a batch is shared out among kernels and their programs.

Queries and keys are multiplied as pairs of float16: a value times ``SCALE`` is the sum of two, the
second of which holds what the first rounded off. Three of the four products of such pairs are those
of float32 up to 2**-22, at a fifteenth of its time on tensor cores. The queue is taken a chunk at a
time, whose logits stay in the second cache; they are never kept.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.kernels.group_tiles import power_of_two

SCALE = 256.0
"""Of the values of unit vectors before they are split: the smaller halves stay normal numbers."""
WEIGHT_BITS = 10
"""Weights, at most 1, are split after a multiplication by 2**10, for the same reason."""
PROGRAMS = 132
"""Wanted of a kernel with products: one for each multiprocessor of an H100."""
CHUNK = 2**23
"""Largest number of logits, or of values of keys, that are held at once: 32 MiB each."""
WARPS = 8
PACK_BLOCK = 2048
"""Values that a program splits."""
MERGE_VALUES = 2048
"""Values of queries that a program merges at once."""
MERGE_TILES = 64
"""Tiles whose sums a program merges at once."""


class Sizes(NamedTuple):
    """What a card's shared memory holds: tiles of both products.

    Attributes:
        rows: queries of a tile.
        keys: of a tile of logits.
        inner: components of an embedding at a time.
        mean_rows: queries of a tile of weighted means.
        width: components of such a tile.
        step: keys at a time.
        stages: steps of a product that are in flight, where the memory suffices.
        promote: whether the sums of tensor cores, which cut off, are kept short; see
            ``triton_contrast.logits_kernel``. Of nearly equal embeddings the loss would be off by
            4e-6 of itself else.
    """

    rows: int
    keys: int
    inner: int
    mean_rows: int
    width: int
    step: int
    stages: int
    promote: bool = True

    @property
    def logits_stage(self) -> int:
        """Bytes of shared memory that a step of the first product takes: pairs of both sides."""
        return 4 * (self.rows + self.keys) * self.inner

    @property
    def mean_stage(self) -> int:
        """The same of the second one: logits, and pairs of keys."""
        return 4 * (self.mean_rows + self.width) * self.step


LARGE = Sizes(rows=128, keys=128, inner=32, mean_rows=128, width=256, step=32, stages=6)
SMALL = Sizes(rows=64, keys=128, inner=32, mean_rows=64, width=128, step=32, stages=3)
_LARGE_MEMORY = 200 * 1024


class ContrastPlan(NamedTuple):
    """How the loss of ``n`` queries of ``dim`` components over ``keys`` keys is launched.

    Attributes:
        sizes: of the tiles; narrower where tiles of full size would be too few or too wide.
        rows: queries, padded to whole tiles.
        width: components, padded likewise.
        chunk: keys that are taken at once, whole tiles.
        tiles: of a chunk, side by side.
        splits: parts of a chunk whose weighted means are summed by programs of their own.
        keys_per_split: whole steps.
        logits_stages: steps of the first product in flight.
        mean_stages: of the second one.
    """

    sizes: Sizes
    rows: int
    width: int
    chunk: int
    tiles: int
    splits: int
    keys_per_split: int
    logits_stages: int
    mean_stages: int

    def chunks(self, keys: int) -> list[range]:
        """The keys of each chunk."""
        return [range(first, min(first + self.chunk, keys)) for first in range(0, keys, self.chunk)]


def plan(n: int, keys: int, dim: int, *, memory: int) -> ContrastPlan:
    """The plan for a loss.

    Args:
        n: queries, at least 1.
        keys: of the queue, at least 1.
        dim: components.
        memory: bytes of shared memory that a program can have.
    """
    sizes = LARGE if memory >= _LARGE_MEMORY else SMALL
    narrow = (
        -(-n // sizes.rows) * -(-keys // sizes.keys) < PROGRAMS // 2 and sizes.keys > sizes.rows
    )
    sizes = sizes._replace(
        keys=sizes.rows if narrow else sizes.keys,
        width=min(sizes.width, max(power_of_two(dim), sizes.inner)),
    )
    rows = _padded(n, max(sizes.rows, sizes.mean_rows))
    width = _padded(dim, max(sizes.width, sizes.inner))
    tiles = max(CHUNK // (max(rows, width) * sizes.keys), 1)
    tiles = min(tiles, -(-keys // sizes.keys))
    chunk = tiles * sizes.keys
    steps = chunk // sizes.step
    splits = min(max(PROGRAMS // (rows // sizes.mean_rows * (width // sizes.width)), 1), steps)
    per_split = -(-steps // splits)
    return ContrastPlan(
        sizes,
        rows,
        width,
        chunk,
        tiles,
        -(-steps // per_split),
        per_split * sizes.step,
        min(max(memory // sizes.logits_stage, 1), sizes.stages),
        min(max(memory // sizes.mean_stage, 1), sizes.stages),
    )


def _padded(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def counted(n: int, keys: int, dim: int) -> dict[str, float]:
    """Operations and bytes of a loss with its gradient, by what bounds them.

    Args:
        n: queries.
        keys: of the queue.
        dim: components.

    Returns:
        ``product``: multiplications and additions of one of the two products, in float16: three for
        each of float32. ``memory``: bytes of the inputs and the gradient. ``cache``: bytes that
        pairs, logits and partial sums pass through the second cache beside what products reread.
    """
    parts = max(PROGRAMS * LARGE.mean_rows * LARGE.width // (n * dim), 1)
    return {
        "product": 3 * 2.0 * n * keys * dim,
        "memory": 4.0 * (3 * n + keys) * dim,
        "cache": 8.0 * (n + keys) * dim + 8.0 * n * keys + 8.0 * parts * n * dim,
    }
