"""CIFAR-10; see ``cifar_batches``."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torchvision.datasets import CIFAR10

from engine.config.data.cifar10 import CLASSES
from engine.data.cifar_batches import CifarBatches
from engine.data.dataset import Dataset, Split
from engine.sink import Sink

_FILES = CifarBatches(CIFAR10, "CIFAR-10", "labels")


def load(_argument: str, data_dir: Path, sink: Sink) -> Dataset:
    """The data set; see ``CifarBatches.load``."""
    train, test = _FILES.load(data_dir, sink)
    return Dataset("cifar10", Split(*train), Split(*test), CLASSES)


def sample(_argument: str, data_dir: Path, count: int) -> Tensor:
    """See ``CifarBatches.sample``."""
    return _FILES.sample(data_dir, count)
