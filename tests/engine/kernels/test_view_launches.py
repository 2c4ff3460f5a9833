"""The kernel that makes views compiles for the cards that it is for, and asks for little there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from engine.augment.augmenter import Augmenter  # noqa: E402
from engine.augment.kernel_augmenter import KernelAugmenter  # noqa: E402
from engine.kernels import view_launches  # noqa: E402
from engine.kernels.triton_views import views_kernel  # noqa: E402

from ..augment.augment_cases import ALL, generator  # noqa: E402
from . import compiling  # noqa: E402

SINE = 32
"""Bytes of a thread's stack that sine and cosine take for angles beyond a thousand turns."""
# Of a multiprocessor with compute capability 8.0 and 9.0.
REGISTERS, SHARED = 65_536, 164 << 10


class Held:
    """In place of the kernel: its launch is written down."""

    def __init__(self) -> None:
        self.grid: tuple[int, ...] = ()
        self.values: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}

    def __getitem__(self, grid: tuple[int, ...]) -> Held:
        self.grid = grid
        return self

    def __call__(self, *values: Any, **named: Any) -> None:
        self.values, self.named = values, named


@pytest.mark.skipif(not compiling.ASSEMBLER_READER.exists(), reason="needs triton's cuobjdump")
@pytest.mark.parametrize(
    ("capability", "size", "side", "dtype", "views_at_once"),
    [
        (90, 32, 32, torch.bfloat16, 5),
        (80, 32, 32, torch.float32, 4),
        (90, 64, 96, torch.bfloat16, 1),
        (80, 31, 40, torch.float32, 4),
    ],
)
def test_the_kernel_keeps_its_values_in_registers(
    capability: int,
    size: int,
    side: int,
    dtype: torch.dtype,
    views_at_once: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every augmentation on: no spills, and so many views at once on a multiprocessor."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, held = views_kernel, Held()
    monkeypatch.setattr(view_launches, "views_kernel", held)
    augmenter = Augmenter(ALL, size=size)
    made = KernelAugmenter(augmenter, (side, side), torch.zeros(3), torch.ones(3))
    images = torch.zeros(4, 3, side, side, dtype=torch.uint8)
    numbers = augmenter.uniform_numbers(8, generator())
    out = view_launches.launch_views(images, numbers, made.table, made.plan, dtype, precise=True)
    assert held.grid == (8,)
    assert out.shape == (8, 3, size, size)

    options = {name: held.named.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    types = ["*u8", "*fp32", "*fp32", compiling.TYPES[dtype], "i32"]
    names = [parameter.name for parameter in kernel.params]
    assert names[5:] == list(held.named)
    source = ASTSource(
        kernel,
        {**dict(zip(names, types, strict=False)), **dict.fromkeys(held.named, "constexpr")},
        constexprs=held.named,
        attrs={(place,): [["tt.divisibility", 16]] for place in range(4)},
    )
    target = GPUTarget("cuda", capability, 32)
    found = triton.compile(source, target=target, options=options)
    cubin = tmp_path / "kernel.cubin"
    cubin.write_bytes(found.asm["cubin"])
    words = [str(compiling.ASSEMBLER_READER), "--dump-resource-usage", str(cubin)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    used = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", said)
    assert used, said
    registers, stack, local = map(int, used.groups())
    print(f"sm_{capability} {size}: {registers} registers, {found.metadata.shared} bytes shared")
    assert local == 0
    assert stack <= SINE
    assert registers * 32 * options["num_warps"] * views_at_once <= REGISTERS
    assert found.metadata.shared * views_at_once <= SHARED
    if dtype == torch.bfloat16:
        assert "cvt.rn.bf16.f32" in found.asm["ptx"]  # to the nearest, as torch
