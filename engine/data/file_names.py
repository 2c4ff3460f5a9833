"""Which file each image of a data set came from."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path

import torch

from engine.config.data import DATA_SETS
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, limited
from engine.data.folder_listing import list_folder
from engine.data.image_folder import picture
from engine.errors import DataError
from engine.text import plain_text

_LONGEST = 4096  # characters of a path


def file_names(
    config: DataConfig, dataset: Dataset, data_dir: Path, own_folders: Collection[Path] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of the training and of the test images, in the order of the images.

    The folder is listed again. Where some of its files are no images, each is decoded again to find
    out which.

    Args:
        config: of ``dataset``.
        dataset: as ``load_dataset`` gave it.
        data_dir: where data sets and their caches live, as it was given to that.
        own_folders: likewise.

    Returns:
        Paths relative to the folder, without control characters; both are empty for data that are
        no files of images.

    Raises:
        DataError: when the folder holds other images than before.
    """
    part, argument = DATA_SETS.find(config.source)
    if part is not None and part.folder:
        module, _, name = part.folder.partition(":")
        root = getattr(import_module(module), name)(data_dir)
        own_folders = ()  # it lies in one of them, and holds none
    elif part is not None and part.argument == "PATH":
        root = Path(argument).expanduser()
        own_folders = (data_dir, *own_folders)
    else:
        return (), ()
    try:
        listing = list_folder(root, own_folders)
    except OSError as error:
        raise DataError(f"The folder of the data {config.source} is gone.") from error
    train = [path for path, _ in listing.train]
    test = [path for path, _ in listing.test]
    tests = 0 if dataset.test is None else len(dataset.test)
    if config.limit and len(train) > len(dataset.train):
        readable = [pair for pair in listing.train if picture(root / pair[0]) is not None]
        labels = torch.tensor([label for _, label in readable])
        rows = limited(labels, config.limit) if config.limit < len(readable) else range(len(labels))
        train = [readable[int(row)][0] for row in rows]
    elif len(train) != len(dataset.train):
        train = [path for path in train if picture(root / path) is not None]
    if len(test) != tests:
        test = [path for path in test if picture(root / path) is not None]
    if (len(train), len(test)) != (len(dataset.train), tests):
        raise DataError(f"The images of {config.source} changed while they were read; try again.")
    return tuple(plain_text(p, _LONGEST) for p in train), tuple(
        plain_text(p, _LONGEST) for p in test
    )
