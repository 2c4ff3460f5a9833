"""Times the MoCo step alone, without data, in pairs a second: each way to compute it, in one run.

    python tests/benchmarks/model_step.py [--threads 2] [--repeats 7] [--encoder convnet] ...

The ways take turns, repeat by repeat, so that a busy machine slows all of them alike. Reported are
medians over the repeats, their range, and the processor time of a step, which other programs on
the machine disturb less than the time that passes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.config.moco_schema import MocoConfig
from engine.config.schema import ModelConfig
from engine.models.moco import MoCo
from engine.pretrain.groupwise_backward import GroupwiseBackward
from engine.runtime.device import fast_bfloat16


def plain(
    moco: MoCo, layout: torch.memory_format, dtype: torch.dtype
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Loss and backward pass of the whole batch, in the given layout and precision."""
    moco.to(memory_format=layout)

    def work(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x, y = x.contiguous(memory_format=layout), y.contiguous(memory_format=layout)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss, keys = moco.loss(x, y)
        loss.backward()
        return loss.detach(), keys

    return work


Gradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Way:
    """One way to compute a step, with a model and an optimizer of its own."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name = name
        torch.manual_seed(0)
        self.moco = MoCo(
            ModelConfig(encoder=options.encoder, bn_splits=options.splits),
            MocoConfig(queue_size=options.queue),
        )
        kind, *words = name.split()
        dtype = torch.bfloat16 if "bfloat16" in words else torch.float32
        if kind == "groupwise":
            self.gradient: Gradient = GroupwiseBackward(
                self.moco, threads=options.threads, dtype=dtype
            )
        else:
            layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
            self.gradient = plain(self.moco, layout, dtype)
        self.optimizer = torch.optim.SGD(
            self.moco.trainable_parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4
        )
        self.seconds: list[float] = []
        self.processor: list[float] = []

    def run(self, x: Tensor, y: Tensor) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        self.moco.momentum_update()
        self.optimizer.zero_grad()
        loss, keys = self.gradient(x, y)
        self.optimizer.step()
        self.moco.enqueue(keys)
        self.seconds.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)
        if not bool(loss.isfinite()):
            raise SystemExit(f"{self.name}: the loss is {float(loss)}")


WAYS = (
    "eager float32",
    "eager float32 channels_last",
    "eager bfloat16",
    "eager bfloat16 channels_last",
    "groupwise float32",
    "groupwise bfloat16",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--queue", type=int, default=4096)
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--encoder", choices=("convnet", "resnet18"), default="convnet")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x = torch.randn(options.batch, 3, 32, 32)
    y = x + 0.3 * torch.randn(options.batch, 3, 32, 32)  # (B, 3, 32, 32), like a second view of x
    ways = [Way(name, options) for name in options.ways]
    for way in ways:  # untimed: oneDNN makes and caches its primitives in the first step
        way.run(x, y)
        way.seconds.clear()
        way.processor.clear()
    for _ in range(options.repeats):
        for way in ways:
            way.run(x, y)

    rows = [
        {
            "way": way.name,
            "pairs_per_second": options.batch / statistics.median(way.seconds),
            "slowest": options.batch / max(way.seconds),
            "fastest": options.batch / min(way.seconds),
            "processor_seconds_per_step": statistics.median(way.processor),
        }
        for way in ways
    ]
    if options.json:
        print(json.dumps({"options": vars(options), "rows": rows}, indent=2))
        return
    print(
        f"{options.encoder}, {options.batch} pairs, K {options.queue}, {options.splits} splits, "
        f"{options.threads} threads, torch {torch.__version__}, {platform.machine()}, "
        f"fast bfloat16: {'yes' if fast_bfloat16() else 'no'}, medians of {options.repeats}"
    )
    print(f"{'way':<30}{'pairs/s':>9}{'slowest':>9}{'fastest':>9}{'CPU s/step':>12}")
    for row in rows:
        print(
            f"{row['way']:<30}{row['pairs_per_second']:>9.0f}{row['slowest']:>9.0f}"
            f"{row['fastest']:>9.0f}{row['processor_seconds_per_step']:>12.3f}"
        )


if __name__ == "__main__":
    main()
