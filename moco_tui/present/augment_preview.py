"""Images of a data set and random views of them, as bytes for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config.data import DATA_SETS
from engine.config.schema import AugmentConfig, DataConfig
from moco_tui import lazy

COUNT = 6
"""Images of the data set that are shown."""


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """Everything that the pictures of a preview depend on; equal requests give equal pictures.

    Attributes:
        source: the data set, as in ``data.source``.
        augment: the augmentations.
        pixels: width and height of a picture.
        seed: of the random draws; another one gives other views.
        image_size: as in ``data.image_size``.
        whole: pictures have the size of the images, whatever ``pixels`` says.
    """

    source: str
    augment: AugmentConfig
    pixels: int
    seed: int = 0
    image_size: int = 0
    whole: bool = False


Picture = bytes
"""RGB, row by row: ``3 * pixels * pixels`` bytes."""


class Previewer:
    """Computes previews; keeps the images of the last data set.

    Args:
        data_dir: where data sets and their caches live.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._loaded: tuple[str, int] | None = None  # source and size
        self._images: Any = None

    def views(self, request: PreviewRequest) -> list[tuple[Picture, Picture, Picture]]:
        """For each of at most ``COUNT`` images: itself and two random views.

        Draws from a generator of its own: a training in this process may draw from torch's
        default one at the same time, and must not get other numbers for a preview.

        Raises:
            DataError: when there are no images to show.
        """
        torch = lazy.torch()
        augment = lazy.engine("augment.augmenter")
        data = DataConfig(source=request.source, image_size=request.image_size)
        if (data.source, data.size) != self._loaded:
            self._images = self._load(data)
            self._loaded = data.source, data.size
        generator = torch.Generator().manual_seed(request.seed)
        with torch.no_grad():
            augmenter = augment.Augmenter(request.augment, size=data.size)
            first = augmenter(self._images, generator)
            second = augmenter(self._images, generator)
            stacks = [augment.to_float(self._images), first, second]
            pixels = data.size if request.whole else request.pixels
            shown = [_shrink(torch, stack, pixels) for stack in stacks]
        return [(a, b, c) for a, b, c in zip(*shown, strict=True)]

    def _load(self, data: DataConfig) -> Any:
        part, argument = DATA_SETS.find(data.source)
        if part is not None and part.sample:  # a few images without reading or fetching the set
            module, _, name = part.sample.partition(":")
            sample = getattr(lazy.engine(module.removeprefix("engine.")), name)
            if part.decodes:
                return sample(argument, self.data_dir, COUNT, data.size)
            images = sample(argument, self.data_dir, COUNT)
            return lazy.engine("data.resizing").resized_images(images.numpy(), data.size)
        whole = lazy.engine("data.dataset").load_dataset(data, data_dir=self.data_dir)
        return whole.train.images[:COUNT].clone()  # a slice alone would keep the whole set


def _shrink(torch: Any, images: Any, pixels: int) -> list[Picture]:
    """Images as bytes, resized where they have another size.

    Args:
        torch: the module, which this one must not import when it is loaded.
        images: floats in [0, 1], (N, 3, H, W); augmentations may leave the range.
        pixels: width and height of the pictures.
    """
    if pixels != images.shape[-1]:
        images = torch.nn.functional.interpolate(
            images, size=(pixels, pixels), mode="bilinear", antialias=True, align_corners=False
        )
    bytes_ = (images.clamp(0, 1) * 255 + 0.5).to(torch.uint8)  # adding 0.5 rounds to the nearest
    bytes_ = bytes_.permute(0, 2, 3, 1).contiguous()  # (N, pixels, pixels, 3)
    return [bytes(picture.flatten().tolist()) for picture in bytes_]
