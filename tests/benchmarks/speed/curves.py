"""The fast path and the plain path over each other: the same data, the same seeds.

Fast is what a run does here (on a CPU: groups on worker threads, bfloat16 where the processor has
it; on CUDA: bfloat16, captured). Plain is the eager float32 step of the whole batch. Both start
from the same weights and see the same views; dropout draws other bits, and rounding differs, so
the trajectories part and only where they lead can be compared: to the spread over seeds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, load_dataset
from engine.evaluate.knn_monitor import measure_knn
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining
from engine.runtime.device import apply_runtime, resolve_runtime
from engine.sink import NullSink

from . import timing

RISEN = 5.0  # points of kNN over the untrained encoder from which it has clearly risen


def train(
    values: dict[str, Any], dataset: Dataset, *, plain: bool, knn_every: int
) -> list[dict[str, float]]:
    """One training: ``epoch``, ``loss`` (its mean over the epoch) and ``knn`` where measured."""
    config = resolve(PretrainConfig, preset_name="quick", extra=values)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=config.runtime.deterministic)
    training = Pretraining(config, dataset.train.images, runtime)
    if plain:
        make_plain(training)

    def knn() -> float:
        found = measure_knn(
            training.state.model.encoder_q,
            dataset,
            config,
            mean=training.state.mean,
            std=training.state.std,
            device=runtime.device,
            untrained=training.state.step == 0,
            sink=NullSink(),
        )
        return found["knn/top1"]

    rows = [{"epoch": 0.0, "knn": knn()}]
    try:
        for epoch in range(1, config.optim.epochs + 1):
            losses = [training.advance() for _ in range(training.steps_per_epoch)]
            row = {"epoch": float(epoch), "loss": float(torch.stack(losses).mean())}
            if epoch % knn_every == 0 or epoch == config.optim.epochs:
                row["knn"] = knn()
            rows.append(row)
    finally:
        training.close()
    return rows


def make_plain(training: Pretraining) -> None:
    """Take the fast path out of a pretraining whose precision is float32."""
    training.close()
    training.compute_step = PlainStep(training.state)


def measure(
    values: dict[str, Any],
    source: str,
    data_dir: Path,
    *,
    limit: int,
    epochs: int,
    seeds: Sequence[int],
    plain_seeds: Sequence[int],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Trains both.

    Args:
        values: device and threads.
        source: of the images, labelled; as ``--data`` takes it.
        data_dir: where its cache lies.
        limit: training images; 0: all.
        epochs: of each training, the whole schedule.
        seeds: of the fast path; their spread is what the plain path is held against.
        plain_seeds: of the plain path, which takes several times as long.
        say: called with a line for each training.
    """
    base = {
        **values,
        "data.source": source,
        "data.limit": limit,
        "optim.epochs": epochs,
        "optim.batch_size": 128,
    }
    dataset = load_dataset(
        resolve(PretrainConfig, preset_name="quick", extra=base).data,
        data_dir=data_dir,
        sink=NullSink(),
    )
    every = max(1, epochs // 5)
    runs: list[dict[str, Any]] = []
    for seed in sorted({*seeds, *plain_seeds}):
        for plain in (False, True):
            if seed not in (plain_seeds if plain else seeds):
                continue
            own: dict[str, Any] = {"runtime.seed": seed}
            if plain:
                own |= {"runtime.precision": "float32", "runtime.capture": "off"}
            start = time.perf_counter()
            rows = train({**base, **own}, dataset, plain=plain, knn_every=every)
            spent = time.perf_counter() - start
            runs.append({"path": "plain" if plain else "fast", "seed": seed, "rows": rows})
            say(f"{runs[-1]['path']} seed {seed}: kNN {rows[-1]['knn']:.2f} % in {spent:.0f} s")
    finals = {
        path: {run["seed"]: run["rows"][-1]["knn"] for run in runs if run["path"] == path}
        for path in ("fast", "plain")
    }
    untrained = statistics.mean(run["rows"][0]["knn"] for run in runs)
    return {
        "data": source,
        "images": len(dataset.train),
        "runs": runs,
        "untrained": untrained,
        **verdict(finals["fast"], finals["plain"], untrained),
    }


def verdict(fast: dict[int, float], plain: dict[int, float], untrained: float) -> dict[str, Any]:
    """Whether the plain path ends where the fast one does, as far as the seeds can tell.

    Args:
        fast: final kNN in percent by seed, two at least.
        plain: likewise, one at least.
        untrained: kNN in percent before training.

    Returns:
        ``risen``: points that the fast path gained, and whether that is clear;
        ``difference``: mean of fast less mean of plain over the seeds that both have;
        ``spread``: largest less smallest of the fast path's seeds; ``within``: the difference is
        no larger than the spread.
    """
    both = sorted(fast.keys() & plain.keys())
    difference = statistics.mean(fast[seed] - plain[seed] for seed in both)
    spread = max(fast.values()) - min(fast.values())
    gained = statistics.mean(fast.values()) - untrained
    return {
        "gained": gained,
        "risen": gained >= RISEN,
        "difference": difference,
        "spread": spread,
        "within": abs(difference) <= spread,
    }


def show(result: dict[str, Any]) -> str:
    """The curves, one column a training, and the verdict."""
    runs = result["runs"]
    measured = [row["epoch"] for row in runs[0]["rows"] if "knn" in row]
    head = ["epoch"]
    for run in runs:
        head += [f"{run['path']} {run['seed']}: loss", "kNN %"]
    lines: list[list[object]] = []
    for epoch in measured:
        line: list[object] = [f"{epoch:.0f}"]
        for run in runs:
            row = next(row for row in run["rows"] if row["epoch"] == epoch)
            line += [f"{row['loss']:.3f}" if "loss" in row else "", f"{row['knn']:.2f}"]
        lines.append(line)
    words = "" if result["risen"] else "not "
    within = "within" if result["within"] else "NOT within"
    return (
        f"{timing.table(head, lines)}\n"
        f"{result['data']}, {result['images']:,} images; kNN has {words}clearly risen "
        f"({result['gained']:+.1f} points); fast less plain, same seeds: "
        f"{result['difference']:+.2f} points, {within} the spread of the fast path's seeds "
        f"({result['spread']:.2f})"
    )
