"""Images of a data set and random views of them, as bytes for the terminal."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.schema import AugmentConfig
from engine.errors import DataError
from moco_tui import lazy

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
COUNT = 6


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be shown.

    Attributes:
        source: as in ``data.source``.
        augment: the augmentations.
        pixels: width and height of a shown image.
        seed: of the draws; another one gives other views.
    """

    source: str
    augment: AugmentConfig
    pixels: int
    seed: int = 0


Picture = bytes
"""RGB, row by row."""


class Previewer:
    """Computes previews; keeps the images of the last data set.

    Args:
        data_dir: where data sets and their caches live.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._source = ""
        self._images: Any = None

    def views(self, wish: Wish) -> list[tuple[Picture, Picture, Picture]]:
        """For each image: itself and two random views.

        Draws from a generator of its own: torch's default one belongs to the training.

        Raises:
            DataError: when there are no images to show.
        """
        torch = lazy.torch()
        augment = lazy.engine("augment.augmenter")
        if wish.source != self._source:
            self._images = self._load(wish.source)
            self._source = wish.source
        generator = torch.Generator().manual_seed(wish.seed)
        with torch.no_grad():
            augmenter = augment.Augmenter(wish.augment)
            first = augmenter(self._images, generator)
            second = augmenter(self._images, generator)
            stacks = [augment.to_float(self._images), first, second]
            shown = [_shrink(torch, stack, wish.pixels) for stack in stacks]
        return [(a, b, c) for a, b, c in zip(*shown, strict=True)]

    def _load(self, source: str) -> Any:
        if source == "shapes":
            return lazy.engine("data.shapes").generate(20, seed=7)[0][:COUNT]
        if source == "cifar10":
            return self._cifar10()
        try:
            root = Path(source.removeprefix("folder:")).expanduser()
        except RuntimeError as error:  # ~name of nobody
            raise DataError(f"There is no such home directory: {source}.") from error
        return self._folder(root)

    def _cifar10(self) -> Any:
        splits = lazy.engine("data.cifar10").read_cifar10(self.data_dir)
        if splits is None:
            raise DataError("CIFAR-10 is not downloaded yet; the first run on it does that.")
        (images, _), _ = splits
        return images[:COUNT].clone()

    def _folder(self, root: Path) -> Any:
        torch = lazy.torch()
        picture = lazy.engine("data.image_folder").picture
        top = root / "train" if (root / "train").is_dir() else root
        if not top.is_dir():
            raise DataError(f"There is no folder {root}.")
        found = (picture(path) for path in itertools.islice(_spread(top), 4 * COUNT))
        pictures = list(itertools.islice((p for p in found if p is not None), COUNT))
        if not pictures:
            raise DataError(f"There are no images in {top}.")
        return torch.stack([torch.from_numpy(p.copy()) for p in pictures])


def _spread(top: Path) -> Any:
    """Image files, one from each class in turn; looks at a few files only."""
    try:
        entries = sorted(os.scandir(top), key=lambda entry: entry.name)
        classes = [Path(entry.path) for entry in entries if entry.is_dir()]
        lists = [_files(folder) for folder in classes] if classes else [_files(top)]
    except OSError as error:
        raise DataError(f"The folder {top} cannot be read: {error.strerror}.") from error
    for group in itertools.zip_longest(*lists):
        yield from (path for path in group if path is not None)


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = (entry.name for entry in itertools.islice(entries, 200))
        return sorted(folder / name for name in names if name.lower().endswith(SUFFIXES))[:8]


def _shrink(torch: Any, images: Any, pixels: int) -> list[Picture]:
    if pixels != images.shape[-1]:
        images = torch.nn.functional.interpolate(
            images, size=(pixels, pixels), mode="bilinear", antialias=True, align_corners=False
        )
    bytes_ = (images.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return [bytes(picture.flatten().tolist()) for picture in bytes_]
