"""What a CPU computes with and without the kernels in C, in turns in one process.

    python tests/benchmarks/kernels.py [--preset notebook-small-angle] [--encoder convnet]
        [--rounds 10] [--threads 0] [--levels off avx512] [--rows step features views supervised]

The rows: ``step``, of the pretraining of a preset; ``features``, 1,024 images through a frozen
encoder; ``views``, 512 augmented views and their features; ``supervised``, a step of the training
from scratch on 128 images. Prints milliseconds, wall clock and processor time, as median (least -
most) over the rounds, and how many times as fast each level is as the first (the median over the
rounds of the ratio within a round). Images are random: the time does not depend on them.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from engine.config.baselines import SupervisedConfig
from engine.config.resolve import resolve
from engine.config.schema import ModelConfig, PretrainConfig
from engine.data.dataset import Dataset, Split
from engine.models.encoder import build_encoder
from engine.native.library import LEVELS, OFF, library
from engine.pretrain.pretraining import Pretraining
from engine.probe.feature_sources import ComputedFeatures, FeaturesForOneProbe
from engine.probe.supervised_training import SupervisedData, SupervisedTraining
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime
from engine.sink import NullSink

CPU = torch.device("cpu")
MEAN, STD = torch.full((3,), 0.5), torch.full((3,), 0.25)
Ways = Mapping[str, Callable[[], object]]
"""What is timed, by level."""


def some_images(count: int) -> torch.Tensor:
    """Random images, uint8 ``(count, 3, 32, 32)``."""
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


def steps(config: PretrainConfig, runtime: Runtime, levels: list[str]) -> Ways:
    """A step of a pretraining."""
    images = some_images(4 * config.optim.batch_size)
    return {
        level: Pretraining(config, images, dataclasses.replace(runtime, kernels=level)).advance
        for level in levels
    }


def sources(encoder_name: str, count: int, levels: list[str]) -> dict[str, ComputedFeatures]:
    """Features of an untrained encoder on as many images."""
    model = ModelConfig(encoder=encoder_name)
    encoder = build_encoder(model).eval()
    split = Split(some_images(count), torch.zeros(count, dtype=torch.int64))
    dataset = Dataset("noise", split, split, ("one",))
    return {
        level: FeaturesForOneProbe(encoder, model, dataset, MEAN, STD, CPU, level).of_encoder(
            "pretrained", encoder
        )
        for level in levels
    }


def features(encoder_name: str, levels: list[str]) -> Ways:
    """The pass of 1,024 images."""
    rows = torch.arange(1024)
    made = sources(encoder_name, len(rows), levels)
    return {
        level: functools.partial(source.raw, rows, NullSink()) for level, source in made.items()
    }


def views(encoder_name: str, levels: list[str]) -> Ways:
    """512 augmented views and their features."""
    rows = torch.arange(512)
    made = sources(encoder_name, len(rows), levels)
    return {
        level: functools.partial(source.views, rows, 1, 0, NullSink())
        for level, source in made.items()
    }


def supervised(encoder_name: str, levels: list[str]) -> Ways:
    """An epoch of one step of the training from scratch."""
    images, targets, rows = some_images(128), torch.randint(10, (128,)), torch.arange(128)
    ways: dict[str, Callable[[], object]] = {}
    for level in levels:
        training = SupervisedTraining(
            SupervisedData(images, targets, 10, rows, rows[:0], MEAN, STD, level),
            ModelConfig(encoder=encoder_name),
            SupervisedConfig(),
            rows=rows,
            lr=0.01,
            epochs=100_000,
            batch_size=128,
            seed=0,
            sink=NullSink(),
        )
        ways[level] = training.train().__next__
    return ways


def compare(name: str, ways: Ways, rounds: int) -> None:
    """Times all levels in turns and prints their lines."""
    found: dict[str, list[tuple[float, float]]] = {level: [] for level in ways}
    for round_number in range(rounds + 1):
        for level, work in ways.items():
            began, used = time.perf_counter(), time.process_time()
            work()
            if round_number:  # the first warms up
                wall = 1e3 * (time.perf_counter() - began)
                found[level].append((wall, 1e3 * (time.process_time() - used)))
    base = found[next(iter(ways))]
    for level, pairs in found.items():
        parts = []
        for i, clock in enumerate(("wall", "processor")):
            times = [pair[i] for pair in pairs]
            gain = statistics.median(
                first[i] / own[i] for first, own in zip(base, pairs, strict=True)
            )
            spread = f"{min(times):,.0f} - {max(times):,.0f}"
            parts.append(f"{clock} {statistics.median(times):,.0f} ({spread}), {gain:.2f} x")
        print(f"{name:11}{level:8}" + "   ".join(parts), flush=True)


def main() -> None:
    """Times the rows and levels that are asked for."""
    rows = ("step", "features", "views", "supervised")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--preset", default="notebook-small-angle", help="of the row step")
    parser.add_argument("--encoder", default="convnet", help="of the other rows")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--levels", nargs="+", choices=(OFF, *LEVELS), default=())
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows)
    options = parser.parse_args()
    kernels = library()
    if kernels is None:
        raise SystemExit("The kernels were not built; pip install -e . builds them.")
    levels = list(options.levels) or [OFF, *LEVELS[: kernels.moco_levels()]]
    settings = ["runtime.device=cpu", f"runtime.threads={options.threads}"]
    config = resolve(PretrainConfig, preset_name=options.preset, sets=settings)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)
    precision = "bfloat16" if runtime.bfloat16 else "float32"
    print(
        f"{runtime.threads} threads, ms; step: {options.preset} in {precision}, "
        f"the others: {options.encoder} in float32"
    )
    made: dict[str, Callable[[], Ways]] = {
        "step": lambda: steps(config, runtime, levels),
        "features": lambda: features(options.encoder, levels),
        "views": lambda: views(options.encoder, levels),
        "supervised": lambda: supervised(options.encoder, levels),
    }
    for row in options.rows:
        compare(row, made[row](), options.rounds)


if __name__ == "__main__":
    main()
