"""Data sets as uint8 tensors, and how their images are divided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.classes import CIFAR10_CLASSES, SHAPES_CLASSES
from engine.config import DataConfig
from engine.imagecache import Found, cached
from engine.seeds import stream
from engine.sink import NullSink, Sink

_SHAPES_SEEDS = {"train": 20_191_113, "test": 20_200_309}
_ROWS = 4096  # of images converted to float at a time


@dataclass(frozen=True)
class Split:
    """Images of one part of a data set.

    Attributes:
        images: uint8 ``(N, 3, 32, 32)``, contiguous, on the CPU.
        labels: int64 ``(N,)``, indices into the class names; -1 everywhere without classes.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> bool:
        """Whether every image has a class."""
        return len(self.labels) > 0 and bool((self.labels >= 0).all())

    def take(self, rows: Tensor) -> Split:
        """Some of the images, in the order of ``rows``."""
        return Split(self.images[rows].contiguous(), self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """Images to train on and, where there are any, to test on.

    Attributes:
        name: what was asked for, for people.
        train: the training images.
        test: the test images, or None.
        class_names: names of the classes, sorted; empty without classes.
        skipped: images that could not be read, with the reason, in the order of their paths.
    """

    name: str
    train: Split
    test: Split | None
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def load_dataset(config: DataConfig, *, data_dir: Path, sink: Sink | None = None) -> Dataset:
    """Reads, downloads or draws the images that ``config`` names.

    Args:
        config: the source and the limit.
        data_dir: where downloads and caches live; made when it is missing.
        sink: hears the progress, and is asked whether to stop.

    Raises:
        DataError: one sentence on what is missing, broken or of the wrong form.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    source = config.source
    if source == "shapes":
        dataset = _named(source, cached(data_dir, "shapes-1", sink, lambda: _draw_shapes(sink)))
    elif source == "cifar10":
        from engine.cifar10 import load_cifar10

        train, test = load_cifar10(data_dir, sink)
        dataset = Dataset("cifar10", Split(*train), Split(*test), CIFAR10_CLASSES)
    else:
        from engine.imagefolder import load_folder

        folder = Path(source.removeprefix("folder:"))
        dataset = _named(source, load_folder(folder, data_dir, sink))
    if 0 < config.limit < len(dataset.train):
        rows = limited(dataset.train.labels, config.limit)
        dataset = Dataset(
            dataset.name,
            dataset.train.take(rows),
            dataset.test,
            dataset.class_names,
            dataset.skipped,
        )
    return dataset


def _named(name: str, found: Found) -> Dataset:
    test = None if found.test is None else Split(*found.test)
    return Dataset(name, Split(*found.train), test, found.class_names, found.skipped)


def _draw_shapes(sink: Sink) -> Found:
    from engine.shapes import TEST_IMAGES, TRAIN_IMAGES, generate

    return Found(
        train=generate(TRAIN_IMAGES, seed=_SHAPES_SEEDS["train"], sink=sink),
        test=generate(TEST_IMAGES, seed=_SHAPES_SEEDS["test"], sink=sink),
        class_names=SHAPES_CLASSES,
    )


def _ranks(labels: Tensor, generator: torch.Generator) -> Tensor:
    """float64 (N,) in (0, 1): the place of each image in a random order of its class."""
    share = torch.empty(len(labels), dtype=torch.float64)
    for label in torch.unique(labels).tolist():
        rows = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(rows), generator=generator)
        share[rows[order]] = (torch.arange(len(rows), dtype=torch.float64) + 0.5) / len(rows)
    return share


def limited(labels: Tensor, limit: int) -> Tensor:
    """The images that ``data.limit`` keeps: stratified, always the same, smaller inside larger.

    Args:
        labels: int64 (N,).
        limit: how many, at most N.

    Returns:
        int64 (limit,), ascending indices.
    """
    # Of every class the same share of its random order comes first, whatever the limit.
    order = _ranks(labels, stream(0, "limit")).argsort(stable=True)
    return order[:limit].sort().values


def holdout_split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Divides the training images for monitoring: labels in the bank, and labels withheld.

    Args:
        labels: int64 (N,).
        fraction: share whose labels are withheld, in (0, 1); at least one image of a class that
            has two.
        seed: of the choice.

    Returns:
        Ascending int64 indices of the bank and of the images whose labels are withheld; both
        stratified by class. Unlabelled images (-1) count as one class.
    """
    share = _ranks(labels, stream(seed, "holdout"))
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        rows = (labels == label).nonzero().squeeze(1)
        count = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        held[rows[share[rows].argsort(stable=True)[:count]]] = True
    return (~held).nonzero().squeeze(1), held.nonzero().squeeze(1)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over all pixels, scaled to [0, 1].

    Args:
        images: uint8 (N, 3, H, W), N >= 1.

    Returns:
        Two float32 (3,) on the images' device; the deviation is at least 1 / 255, so that a
        channel of one value can be divided by it.
    """
    total = torch.zeros(3, dtype=torch.float64, device=images.device)
    squares = torch.zeros(3, dtype=torch.float64, device=images.device)
    for part in torch.split(images, _ROWS):
        # whole numbers below 2**53: exact, in whatever order they are added
        values = part.permute(1, 0, 2, 3).reshape(3, -1).to(torch.float64)
        total += values.sum(1)
        squares += values.square().sum(1)
    count = images.shape[0] * images.shape[2] * images.shape[3]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_(min=0.0).sqrt().clamp_(min=1.0)
    return (mean / 255.0).float(), (deviation / 255.0).float()
