"""The kernels of the loss compile for the cards that they are for, at the sizes of the presets."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from engine.kernels import contrast_launches, contrast_plan
from engine.kernels.contrast_plan import LARGE, SMALL, counted, plan

from . import compiling

KIB = 1024
SHARED = {80: 163 * KIB, 89: 99 * KIB, 90: 227 * KIB}
"""What a program can have, by the capability of the card (CUDA C++ Programming Guide)."""


def launches_of(
    n: int, keys: int, dim: int, symmetric: bool, memory: int
) -> list[compiling.Launch]:
    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    spy = compiling.Spy()
    query, narrow = empty(n, dim), empty(n, dim, dtype=torch.bfloat16)
    pairs = empty(n // (2 if symmetric else 1))
    with (
        patch.object(contrast_launches, "wrap_triton", spy),
        patch.object(contrast_launches, "shared_memory", lambda _: memory),
    ):
        contrast_launches.launch_contrast(query, query, empty(keys, dim), 0.07, symmetric, True)
        contrast_launches.launch_unit_rows(narrow, None)
        contrast_launches.launch_unit_rows(narrow, empty(n, dtype=torch.int64))
        contrast_launches.launch_unit_rows_backward(query, narrow)
        contrast_launches.launch_order(pairs, pairs if symmetric else None)
        pointer = empty(dtype=torch.int64)
        contrast_launches.launch_enqueue(empty(keys, dim), pointer, query)
    return spy.launches


@pytest.mark.skipif(not compiling.ASSEMBLER_READER.exists(), reason="needs triton's cuobjdump")
@pytest.mark.parametrize(
    ("n", "dim", "symmetric", "capability"),
    [(1024, 512, True, 90), (512, 128, False, 90), (1024, 512, True, 80), (512, 128, False, 89)],
)
def test_every_kernel_keeps_its_values_in_registers_and_fits_the_shared_memory(
    n: int,
    dim: int,
    symmetric: bool,
    capability: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Products are those of tensor cores; what they multiply is on its way some steps ahead."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found = launches_of(n, 4096, dim, symmetric, SHARED[capability])
    assert len({launch.kernel.__name__ for launch in found}) == 10
    for launch in found:
        name = launch.kernel.__name__
        used = compiling.compile_for(launch, capability, tmp_path)
        print(f"sm_{capability} {n}x{dim} {name:22} {used[:4]}")
        assert used.stack == used.local == 0, (name, used[:4])
        assert used.registers * 32 * launch.warps <= 65536, (name, used[:4])
        assert used.shared <= SHARED[capability], (name, used[:4])
        if name in ("logits_kernel", "mean_kernel"):
            product = "wgmma.mma_async" if capability == 90 else "mma.sync"
            assert product in used.ptx, name
            assert re.search(r"cp\.async\.wait_group\s+[1-9]", used.ptx), name


def test_a_plan_covers_every_query_key_and_component() -> None:
    for n, keys, dim in [(1, 1, 2), (1024, 4096, 512), (512, 65_537, 128), (16_384, 5000, 8192)]:
        for memory in SHARED.values():
            made = plan(n, keys, dim, memory=memory)
            sizes = made.sizes
            assert made.rows >= n
            assert made.rows % sizes.rows == made.rows % sizes.mean_rows == 0
            assert made.width >= dim
            assert made.width % sizes.width == made.width % sizes.inner == 0
            assert made.chunk == made.tiles * sizes.keys
            assert made.splits * made.keys_per_split >= made.chunk
            assert (made.splits - 1) * made.keys_per_split < made.chunk  # none is empty
            covered = [key for chunk in made.chunks(keys) for key in chunk]
            assert covered == list(range(keys))
            one_tile = made.rows * sizes.keys  # which may be more than a chunk should hold
            assert made.rows * made.chunk <= max(contrast_plan.CHUNK, one_tile)


def test_a_card_of_less_memory_has_smaller_tiles() -> None:
    assert plan(1024, 4096, 512, memory=SHARED[90]).sizes == LARGE
    assert plan(1024, 4096, 512, memory=SHARED[89]).sizes == SMALL
    assert plan(1024, 4096, 512, memory=SHARED[90]).logits_stages == 6
    assert plan(1024, 4096, 512, memory=64 * KIB).logits_stages == 2


def test_what_a_loss_costs_is_counted() -> None:
    found = counted(1024, 4096, 512)
    assert found["product"] == 3 * 2 * 1024 * 4096 * 512
    assert found["memory"] == 4 * 512 * (4096 + 3 * 1024)
