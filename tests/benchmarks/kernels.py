"""The step on a CPU with and without the kernels in C, in turns in one process.

    python tests/benchmarks/kernels.py [--preset notebook-small-angle] [--steps 10] [--threads 0]

Prints milliseconds a step, wall clock and processor time, as median (least - most) over the steps,
and how many times as fast each level is as none. Images are random: the time does not depend on
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.native.library import LEVELS, OFF, library
from engine.pretrain.pretraining import Pretraining
from engine.runtime.device import apply_runtime, resolve_runtime


def main() -> None:
    """Times all levels that this processor has."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--preset", default="notebook-small-angle")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    options = parser.parse_args()
    kernels = library()
    if kernels is None:
        raise SystemExit("The kernels were not built; pip install -e . builds them.")
    settings = ["runtime.device=cpu", f"runtime.threads={options.threads}"]
    config = resolve(PretrainConfig, preset_name=options.preset, sets=settings)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)
    images = torch.randint(0, 256, (4 * config.optim.batch_size, 3, 32, 32), dtype=torch.uint8)
    ways: dict[str, Pretraining] = {}
    for level in (OFF, *LEVELS[: kernels.moco_levels()]):
        ways[level] = Pretraining(config, images, dataclasses.replace(runtime, kernels=level))
        ways[level].advance()
    wall: dict[str, list[float]] = {level: [] for level in ways}
    processor: dict[str, list[float]] = {level: [] for level in ways}
    for _ in range(options.steps):
        for level, training in ways.items():
            began, used = time.perf_counter(), time.process_time()
            training.advance()
            wall[level].append(1e3 * (time.perf_counter() - began))
            processor[level].append(1e3 * (time.process_time() - used))
    precision = "bfloat16" if runtime.bfloat16 else "float32"
    print(f"{options.preset}, {precision}, {runtime.threads} threads, ms a step")
    for level in ways:
        parts = []
        for name, times in (("wall", wall), ("processor", processor)):
            middle = statistics.median(times[level])
            gain = statistics.median(times[OFF]) / middle
            spread = f"{min(times[level]):,.0f} - {max(times[level]):,.0f}"
            parts.append(f"{name} {middle:,.0f} ({spread}), {gain:.2f} x")
        print(f"{level:8}" + "   ".join(parts))


if __name__ == "__main__":
    main()
