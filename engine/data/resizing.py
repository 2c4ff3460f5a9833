"""Images of an array brought to another size."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.data.image_decoder import decoder_name, fitted
from engine.data.image_store import ImageStore
from engine.sink import Sink, check_interrupt

_BATCH = 256  # images handed to the threads at a time; a stop is noticed between two batches
_RESIZING = 1
"""Of this module: raised when the same images give other pixels than before."""


def resizer() -> str:
    """Everything that the pixels depend on beside the images: part of a cache's key."""
    return f"{decoder_name()}, bicubic {_RESIZING}"


def add_resized(images: NDArray[np.uint8], size: int, store: ImageStore, sink: Sink) -> None:
    """Adds images to a store, each resized as ``image_decoder.fitted`` resizes those of files.

    Args:
        images: uint8 (N, 3, H, W), in any memory order.
        size: height and width of the result, in pixels; where the images have it, they are added
            as they are.
        store: of images of that size.
        sink: receives the progress, and is asked whether to stop.

    Raises:
        DataError: when the disk is full.
        Interrupted: when the sink asked to stop.
    """
    same = tuple(images.shape[2:]) == (size, size)
    # Threads are enough: Pillow releases the GIL while it resizes.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(images), _BATCH):
            check_interrupt(sink)
            batch = images[start : start + _BATCH]
            if same:
                store.add(batch)
            else:
                store.add(np.stack(list(pool.map(lambda image: _resized(image, size), batch))))
            sink.progress("resizing images", min(start + _BATCH, len(images)), len(images))


def resized_images(images: NDArray[np.uint8], size: int) -> Tensor:
    """A few images of another size; see ``add_resized``.

    Args:
        images: uint8 (N, 3, H, W), N >= 1, in any memory order.
        size: height and width of the result, in pixels.
    """
    if tuple(images.shape[2:]) == (size, size):
        return torch.from_numpy(images.copy(order="C"))
    return torch.from_numpy(np.stack([_resized(image, size) for image in images]))


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """An image (3, H, W) as (3, size, size)."""
    return fitted(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), size)
