"""Trains a net from scratch with and without the kernels in C, over seeds, and compares accuracies.

    python tests/benchmarks/supervised_ways.py --data folder:IMG --data-dir DIR

Each seed is trained in both ways: initial weights, order and shifts are the same, dropout draws
other units. The last line is the mean difference over the seeds with its standard error.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from engine.config.baselines import SupervisedConfig
from engine.config.resolve import resolve
from engine.config.schema import ModelConfig, PretrainConfig
from engine.data.dataset import channel_statistics, load_dataset
from engine.native.library import OFF, level
from engine.probe.supervised_training import (
    SupervisedData,
    SupervisedTraining,
    calibrate_without_dropout,
    class_scores,
)
from engine.seeds import default_generator, stream
from engine.sink import NullSink

EPOCHS, LR, BATCH = 25, 0.1, 128


def main() -> None:
    """Trains, and prints a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="cifar10", help="cifar10, shapes, folder:...")
    parser.add_argument("--data-dir", type=Path, default=Path.home() / ".cache" / "moco-tui")
    parser.add_argument("--labels", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kernels = level()
    if kernels == OFF:
        parser.error("there are no kernels here")
    config = resolve(PretrainConfig, preset_name="quick", sets=[f"data.source={options.data}"])
    dataset = load_dataset(config.data, data_dir=options.data_dir, sink=NullSink())
    if dataset.test is None:
        parser.error("the data has no test images")
    mean, std = channel_statistics(dataset.train.images)
    rows = torch.randperm(len(dataset.train), generator=stream(0, "subset"))[: options.labels]
    whole = torch.arange(len(rows))
    differences = []
    for seed in range(options.seeds):
        found = []
        for way in (OFF, kernels):
            data = SupervisedData(
                dataset.train.images[rows],
                dataset.train.labels[rows],
                len(dataset.class_names),
                whole,
                whole[:0],
                mean,
                std,
                kernels=way,
            )
            with default_generator(seed, torch.device("cpu")):
                training = SupervisedTraining(
                    data,
                    ModelConfig(),
                    SupervisedConfig(),
                    rows=whole,
                    lr=LR,
                    epochs=EPOCHS,
                    batch_size=min(BATCH, len(rows)),
                    seed=seed,
                    sink=NullSink(),
                )
                losses = list(training.train())
            calibrate_without_dropout(training.net, whole, data, NullSink())
            scores = class_scores(training.net, dataset.test.images, data, NullSink())
            right = scores.argmax(1) == dataset.test.labels
            found.append(100.0 * float(right.float().mean()))
            print(
                f"seed {seed}, kernels {way}: {found[-1]:.1f} %, loss {losses[-1]:.3f}", flush=True
            )
        differences.append(found[1] - found[0])
    error = statistics.stdev(differences) / len(differences) ** 0.5
    print(f"with less without: {statistics.mean(differences):+.1f}, standard error {error:.1f}")


if __name__ == "__main__":
    main()
