"""Data sets as uint8 tensors, and how their images are divided."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.config.data import DATA_SETS, size_of_images
from engine.config.schema import DataConfig
from engine.data.digests import digest_of_names, digest_of_tensor
from engine.data.image_cache import ImageArrays, cached
from engine.data.image_store import ImageStore
from engine.data.memory_share import fits_into_memory
from engine.data.own_data_set import load_own
from engine.data.resizing import add_resized, resizer
from engine.runs.data_identity import DataIdentity
from engine.seeds import stream
from engine.sink import NullSink, Sink

_PIXELS = 512 * 1024  # converted to float64 at a time (12 MB)
_COPIED = 4096  # images copied into a file at a time


@dataclass(frozen=True)
class Split:
    """Images of one part of a data set.

    Attributes:
        images: uint8 ``(N, 3, H, W)``, H = W, contiguous, on the CPU; perhaps in a mapped file.
        labels: int64 ``(N,)``, indices into the class names; -1 for an image without a label, and
            so everywhere without classes.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labelled(self) -> bool:
        """Whether there are images with a label."""
        return bool((self.labels >= 0).any())

    @functools.cached_property
    def labelled_rows(self) -> Tensor:
        """The images that have a label: int64 (n,), ascending."""
        return (self.labels >= 0).nonzero().squeeze(1)

    def take(self, rows: Tensor) -> Split:
        """Some of the images, in the order of ``rows``."""
        return Split(self.images[rows].contiguous(), self.labels[rows])


class ImageRows:
    """Some images of many, taken as they are asked for: a copy of all may not fit into memory.

    Args:
        images: uint8 (N, 3, H, W).
        rows: int64 (n,), which of them.
    """

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self._images, self._rows = images, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> Tensor:
        """uint8 (m, 3, H, W) of a part of the rows, contiguous."""
        return self._images[self._rows[part]]


@dataclass(frozen=True)
class Dataset:
    """Images to train on and, where there are any, to test on.

    Attributes:
        name: the source that was asked for.
        train: the training images.
        test: the test images, or None.
        class_names: names of the classes, sorted; empty without classes.
        skipped: images that could not be read, with the reason, in the order of their paths.
        left_out: what of the source is not among the images, in one line; empty for nothing.
        decoder: what decoded the images, in two words; empty where files hold the pixels.
    """

    name: str
    train: Split
    test: Split | None
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    left_out: str = ""
    decoder: str = ""

    @functools.cached_property
    def identity(self) -> DataIdentity:
        """By which the images and labels are known again; worked out once."""
        test = self.test
        return DataIdentity(
            train=len(self.train),
            unlabelled=len(self.train) - len(self.train.labelled_rows) if self.class_names else 0,
            test=0 if test is None else len(test),
            classes=len(self.class_names),
            train_images=digest_of_tensor(self.train.images),
            train_labels=digest_of_tensor(self.train.labels),
            test_images="" if test is None else digest_of_tensor(test.images),
            test_labels="" if test is None else digest_of_tensor(test.labels),
            class_names=digest_of_names(self.class_names),
            decoder=self.decoder,
        )


def load_dataset(
    config: DataConfig,
    *,
    data_dir: Path,
    sink: Sink | None = None,
    own_folders: Collection[Path] = (),
) -> Dataset:
    """Reads, downloads or draws the images that ``config`` names.

    Args:
        config: the source, the size and the limit.
        data_dir: where downloads and caches live; made when one is written.
        sink: receives the progress, and is asked whether to stop.
        own_folders: folders that this program writes beside ``data_dir``, such as that of the
            runs: they may lie in a folder of images, and are none of its classes.

    Raises:
        ConfigError: when ``config.source`` names nothing that there is.
        DataError: one sentence on what is missing, broken or of the wrong form.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    dataset = _whole(config, data_dir, sink, own_folders)
    if 0 < config.limit < len(dataset.train):
        rows = limited(dataset.train.labels, config.limit)
        dataset = replace(dataset, train=_taken(dataset.train, rows, data_dir / "cache"))
    return dataset


def _whole(
    config: DataConfig, data_dir: Path, sink: Sink, own_folders: Collection[Path]
) -> Dataset:
    """All images of the source, of the size that is asked for."""
    size = size_of_images(config.source, config.image_size)
    load = DATA_SETS.load(config.source)
    part, argument = DATA_SETS.find(config.source)
    if part is None:  # of the user's own
        own = load_own(config.source, load, data_dir, size)
        test = None if own.test is None else Split(*own.test)
        return Dataset(config.source, Split(*own.train), test, own.class_names)
    options: dict[str, Any] = {"size": size} if part.decodes else {}
    if part.argument:  # of a place of the user's, who may work in it
        options["own_folders"] = (data_dir, *own_folders)
    dataset: Dataset = load(argument, data_dir, sink, **options)
    if dataset.train.images.shape[-1] == size:
        return dataset
    return resized(dataset, size, data_dir, sink)


def resized(dataset: Dataset, size: int, data_dir: Path, sink: Sink) -> Dataset:
    """A set whose work makes images of one size alone, resized once and cached.

    Args:
        dataset: all of its images.
        size: height and width that is wanted, in pixels.
        data_dir: the cache lives in ``data_dir/cache``.
        sink: receives the progress, and is asked whether to stop.
    """
    parts = [dataset.train, *([] if dataset.test is None else [dataset.test])]
    path = data_dir / "cache" / f"{dataset.name}-{size}.images"

    def make() -> ImageArrays:
        store = ImageStore(sum(map(len, parts)), size, path.parent)
        for part in parts:
            add_resized(part.images.numpy(), size, store, sink)
        images, count = store.images(), len(dataset.train)
        test = None if dataset.test is None else (images[count:], dataset.test.labels)
        return ImageArrays((images[:count], dataset.train.labels), test, dataset.class_names)

    key = f"{dataset.identity.digest}, {resizer()}"
    found = cached(path, key, sink, make, size=size)
    return replace(
        dataset,
        train=Split(*found.train),
        test=None if found.test is None else Split(*found.test),
        decoder=resizer(),
    )


def _taken(split: Split, rows: Tensor, folder: Path) -> Split:
    """Some of the images, in a file where they are too many for the memory."""
    size = split.images.shape[-1]
    if fits_into_memory(len(rows) * 3 * size * size):
        return split.take(rows)
    store = ImageStore(len(rows), size, folder)
    for part in torch.split(rows, _COPIED):
        store.add(split.images[part].numpy())
    return Split(store.images(), split.labels[rows])


def _ranks(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of each image: its rank in a random order of its class, and the size of that class.

    Args:
        labels: int64 (N,); -1 counts as a class.
        generator: draws the order.

    Returns:
        rank int64 (N,), from 0, and size int64 (N,).
    """
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]  # by class, at random within
    _, sizes = torch.unique_consecutive(labels[order], return_counts=True)
    size = sizes.repeat_interleave(sizes)
    rank = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    inverse = order.argsort()  # from the order back to the images
    return rank[inverse], size[inverse]


def limited(labels: Tensor, limit: int) -> Tensor:
    """The images that ``data.limit`` keeps: stratified, always the same, smaller inside larger.

    Args:
        labels: int64 (N,).
        limit: how many, at most N.

    Returns:
        int64 (limit,), ascending indices.
    """
    # Seed 0 in place of the run's: runs of different seeds are trained on the same images.
    rank, size = _ranks(labels, stream(0, "limit"))
    # By the share of its class that precedes an image: every prefix of the order is stratified, and
    # the images of a smaller limit are among those of a larger one.
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
        stratified by class. Images without a label (-1) are in neither.
    """
    known = (labels >= 0).nonzero().squeeze(1)
    rank, size = _ranks(labels[known], stream(seed, "holdout"))
    # minimum() last: of a class with a single image, that one stays in the bank.
    held = rank < (size.double() * fraction).round().clamp(min=1).minimum(size - 1)
    return known[~held], known[held]


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over all pixels, scaled to [0, 1].

    What images are normalised by, whatever the data. Of CIFAR-10 the deviations are .2470 .2435
    .2616. The notebook and the CIFAR-10 demo of facebookresearch/moco have .2023 .1994 .2010, the
    mean of the deviations of single images, which leaves a deviation of 1.2 to 1.3 in place of 1.

    Args:
        images: uint8 (N, 3, H, W), N >= 1.

    Returns:
        Two float32 (3,) on the images' device; the deviation is at least 1 / 255, so that a
        channel of one value can be divided by it.
    """
    total = torch.zeros(3, dtype=torch.float64, device=images.device)
    squares = torch.zeros(3, dtype=torch.float64, device=images.device)
    pixels = images.shape[2] * images.shape[3]
    for part in torch.split(images, max(1, _PIXELS // pixels)):
        # whole numbers below 2**53: exact, in whatever order they are added
        values = part.permute(1, 0, 2, 3).reshape(3, -1).to(torch.float64)
        total += values.sum(1)
        squares += values.square().sum(1)
    count = images.shape[0] * pixels
    mean = total / count
    deviation = (squares / count - mean.square()).clamp_(min=0.0).sqrt().clamp_(min=1.0)
    return (mean / 255.0).float(), (deviation / 255.0).float()
