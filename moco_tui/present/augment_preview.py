"""Images of a data set and random views of them, as bytes for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.data import DATA_SETS
from engine.config.schema import AugmentConfig, DataConfig
from moco_tui import lazy

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
        part, argument = DATA_SETS.find(source)
        if part is not None and part.sample:
            module, _, name = part.sample.partition(":")
            sample = getattr(lazy.engine(module.removeprefix("engine.")), name)
            return sample(argument, self.data_dir, COUNT)
        whole = lazy.engine("data.dataset").load_dataset(
            DataConfig(source=source), data_dir=self.data_dir
        )
        return whole.train.images[:COUNT].clone()


def _shrink(torch: Any, images: Any, pixels: int) -> list[Picture]:
    if pixels != images.shape[-1]:
        images = torch.nn.functional.interpolate(
            images, size=(pixels, pixels), mode="bilinear", antialias=True, align_corners=False
        )
    bytes_ = (images.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return [bytes(picture.flatten().tolist()) for picture in bytes_]
