"""CIFAR-100; see ``cifar_batches``. Its labels are those of the hundred classes."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torchvision.datasets import CIFAR100

from engine.config.data.cifar100 import CLASSES
from engine.data.cifar_batches import CifarBatches
from engine.data.dataset import Dataset, Split
from engine.sink import Sink

_FILES = CifarBatches(CIFAR100, "CIFAR-100", "fine_labels")


def load(_argument: str, data_dir: Path, sink: Sink) -> Dataset:
    """The data set; see ``CifarBatches.load``."""
    train, test = _FILES.load(data_dir, sink)
    return Dataset("cifar100", Split(*train), Split(*test), CLASSES)


def sample(_argument: str, data_dir: Path, count: int) -> Tensor:
    """See ``CifarBatches.sample``."""
    return _FILES.sample(data_dir, count)
