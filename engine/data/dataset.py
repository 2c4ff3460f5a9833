"""Data sets as uint8 tensors, and how their images are divided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from engine.config.class_names import CIFAR10_CLASSES, SHAPES_CLASSES
from engine.config.schema import DataConfig
from engine.errors import DataError
from engine.seeds import stream
from engine.sink import NullSink, Sink
from engine.text import clean_text

_SHAPES_SEEDS = {"train": 20_191_113, "test": 20_200_309}
_ROWS = 512  # images converted to float64 at a time (12 MB)


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
        name: the source that was asked for.
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
        data_dir: where downloads and caches live; made when one is written.
        sink: hears the progress, and is asked whether to stop.

    Raises:
        DataError: one sentence on what is missing, broken or of the wrong form.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    source = config.source
    if source == "shapes":
        dataset = _draw_shapes(sink)
    elif source == "cifar10":
        from engine.data.cifar10 import load_cifar10

        train, test = load_cifar10(data_dir, sink)
        dataset = Dataset("cifar10", Split(*train), Split(*test), CIFAR10_CLASSES)
    else:
        from engine.data.image_folder import load_folder

        found = load_folder(_folder(source.removeprefix("folder:")), data_dir, sink)
        dataset = Dataset(
            source,
            Split(*found.train),
            None if found.test is None else Split(*found.test),
            found.class_names,
            found.skipped,
        )
    if 0 < config.limit < len(dataset.train):
        rows = limited(dataset.train.labels, config.limit)
        dataset = replace(dataset, train=dataset.train.take(rows))
    return dataset


def _folder(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(f"The folder {clean_text(path)} cannot be found: {error}") from error


def _draw_shapes(sink: Sink) -> Dataset:
    # No cache: drawing them takes a second.
    from engine.data.shapes import TEST_IMAGES, TRAIN_IMAGES, generate

    train = generate(TRAIN_IMAGES, seed=_SHAPES_SEEDS["train"], sink=sink)
    test = generate(TEST_IMAGES, seed=_SHAPES_SEEDS["test"], sink=sink)
    return Dataset("shapes", Split(*train), Split(*test), SHAPES_CLASSES)


def _ranks(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of each image: its place in a random order of its class (from 0), and the class's size."""
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]  # by class, at random within
    _, sizes = torch.unique_consecutive(labels[order], return_counts=True)
    size = sizes.repeat_interleave(sizes)
    rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    back = order.argsort()
    return rank[back], size[back]


def limited(labels: Tensor, limit: int) -> Tensor:
    """The images that ``data.limit`` keeps: stratified, always the same, smaller inside larger.

    Args:
        labels: int64 (N,).
        limit: how many, at most N.

    Returns:
        int64 (limit,), ascending indices.
    """
    # Of every class the same share of its random order comes first, whatever the limit.
    rank, size = _ranks(labels, stream(0, "limit"))
    order = ((rank.double() + 0.5) / size).argsort(stable=True)
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
    rank, size = _ranks(labels, stream(seed, "holdout"))
    held = rank < (size.double() * fraction).round().clamp(min=1).minimum(size - 1)
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
