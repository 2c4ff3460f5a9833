"""The kernels compile for the cards that they are for, at the sizes of the presets."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch

pytest.importorskip("triton")

from engine.kernels import launches

from . import compiling

PRESETS = ["notebook-small-angle", "resnet18-moco"]


@pytest.mark.skipif(not compiling.ASSEMBLER_READER.exists(), reason="needs triton's cuobjdump")
@pytest.mark.parametrize(
    ("preset", "capability", "dtype", "largest"),
    [
        ("notebook-small-angle", 90, torch.bfloat16, False),
        ("notebook-small-angle", 90, torch.float32, True),
        ("notebook-small-angle", 80, torch.bfloat16, True),
        ("resnet18-moco", 90, torch.bfloat16, False),
        ("resnet18-moco", 80, torch.float32, True),
    ],
    ids=str,
)
def test_every_kernel_of_a_preset_keeps_its_values_in_registers(
    preset: str,
    capability: int,
    dtype: torch.dtype,
    largest: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No spills, and at least two programs in the 65,536 of a multiprocessor."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    found = list(compiling.launches_of(preset, dtype))
    stem = 3 if dtype == torch.bfloat16 else 0
    assert len({launch.kernel.__name__ for _, launch in found}) == 6 + stem
    first = found[stem][0]
    for shape, launch in found:
        if largest and shape != first and "stem" not in launch.kernel.__name__:
            continue
        used = compiling.compile_for(launch, capability, tmp_path)
        print(f"sm_{capability} {shape:14} {launch.kernel.__name__:24} {used[:4]}")
        assert used.stack == used.local == 0, (shape, launch.kernel.__name__, used)
        assert 2 * used.registers * 32 * launch.warps <= 65536, (
            shape,
            launch.kernel.__name__,
            used,
        )


@pytest.mark.skipif(not compiling.ASSEMBLER_READER.exists(), reason="needs triton's cuobjdump")
def test_the_least_dropout_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw of 2**24: Triton makes a constant of an argument that is 1."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    spy = compiling.Spy()
    x = torch.empty(8, 6, 6, 32, device="meta").permute(0, 3, 1, 2)
    seed = torch.empty(1, dtype=torch.int64, device="meta")
    groups, channels = torch.empty(4, 32, device="meta"), torch.empty(32, device="meta")
    with patch.object(launches, "wrap_triton", spy):
        launches.launch_pooled_apply(
            x, groups, groups, channels, channels, seed, 2, 2.0**-24, winners=True
        )
    [launch] = spy.launches
    assert launch.constants["threshold"] == 1
    assert compiling.compile_for(launch, 90, tmp_path).local == 0
