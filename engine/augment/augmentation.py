"""The interface of an augmentation, and the parameters of a batch.

Drawing is apart from applying (as in kornia): an augmentation makes its parameters from uniform
random numbers that it is given, so that the same numbers give the same view on every device and in
every chunk of a batch, and applies them to images without randomness of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

SHARED_NUMBERS = 38
"""Columns of the stream of uniform numbers that the first six augmentations share.

Which columns are whose is fixed: it decides every view of every recorded run. Whatever is added
later has no ``shared`` columns and draws from a stream of its own.

- 0-19 candidates of the crop (area, ratio);
- 20-25 whether an image is cropped, rotated, flipped, blurred, colour-jittered, made gray;
- 26-27 place of the crop, 28 angle, 29 sigma of the blur, 30-33 factors of the colour jitter,
  34-37 their order.
"""


class Augmentation(Protocol):
    """Draws its parameters for a batch of images.

    One of the first six also has ``shared``: its columns among the shared numbers, as slices.

    Attributes:
        numbers: how many uniform numbers an image takes.
    """

    @property
    def numbers(self) -> int: ...  # noqa: D102 - above

    def params(self, uniform: Tensor) -> Any:
        """The parameters of N images.

        Args:
            uniform: float32 (N, numbers), uniform in [0, 1), on the device of the images.

        Returns:
            A tensor of N rows, or a dataclass, dict, tuple or list of such, on that device.
        """


class Geometry(Augmentation, Protocol):
    """Moves pixels; composed with others into one bilinear sampling.

    Attributes:
        resizes: whether it also brings the image to the size of the result, and so acts on images
            of another size even where it is off.
    """

    resizes: bool

    def to_input(self, grid: SourceGrid, params: Any) -> None:
        """Takes places in its result back to the places in its input where their values lie.

        Args:
            grid: the places; changed.
            params: what ``params`` gave, for the images of the grid.
        """


class Photometry(Augmentation, Protocol):
    """Changes values; applied to images that have their final size."""

    def apply(self, images: Tensor, params: Any, *, dense: bool) -> Tensor:
        """The augmented images.

        Args:
            images: float32 (N, 3, H, W) in [0, 1]; may be written to.
            params: what ``params`` gave, for these N images.
            dense: take every image through the operation and keep its value where it was not
                chosen, without host synchronisation; else only the chosen ones (fast on a CPU).

        Returns:
            float32 (N, 3, H, W), ``images`` itself or a new tensor.
        """


@dataclasses.dataclass
class SourceGrid:
    """For each pixel of the result, the place in the input that it is sampled from.

    Geometry is composed from its last operation to its first: each ``to_input`` takes the places
    from its output frame to its input frame. At the start the frame is the result itself.

    Attributes:
        x, y: float32, broadcast to (N, size, size): pixel indices in the current frame, whole
            numbers at pixel centres.
        height, width: of the current frame, in pixels.
        image_height, image_width: of the images, in pixels.
        size: height and width of the result, in pixels.
        weight: float32, broadcast to (N, size, size), share of a pixel that lies inside a frame;
            None: all of it.
    """

    x: Tensor
    y: Tensor
    height: int
    width: int
    image_height: int
    image_width: int
    size: int
    weight: Tensor | None = None


class AugmentParams:
    """The parameters of N images and one view, by the names of the augmentations.

    They can be replayed, moved and sliced, and say nothing about the images.

    Args:
        n: number of images.
        by_name: what the ``params`` of each augmentation gave.
    """

    def __init__(self, n: int, by_name: Mapping[str, Any]) -> None:
        self._n = n
        self.by_name = dict(by_name)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    def to(self, device: torch.device | str) -> AugmentParams:
        """The same parameters on another device."""
        return AugmentParams(
            self._n, {k: map_tensors(lambda t: t.to(device), v) for k, v in self.by_name.items()}
        )

    def take(self, rows: slice | Tensor) -> AugmentParams:
        """The parameters of some of the images: a slice, an index tensor or a mask."""
        n = len(range(self._n)[rows]) if isinstance(rows, slice) else _count(rows)
        return AugmentParams(n, {k: take(v, rows) for k, v in self.by_name.items()})

    def replace(self, name: str, **changes: Any) -> AugmentParams:
        """Other values for some of the parameters of one augmentation."""
        changed = dataclasses.replace(self.by_name[name], **changes)
        return AugmentParams(self._n, self.by_name | {name: changed})


def _count(rows: Tensor) -> int:
    return int(rows.sum()) if rows.dtype == torch.bool else len(rows)


def take(params: Any, rows: slice | Tensor) -> Any:
    """The parameters of some of the images, of one augmentation."""
    return map_tensors(lambda tensor: tensor[rows], params)


def map_tensors(function: Callable[[Tensor], Any], params: Any) -> Any:
    """The same structure with ``function`` of each tensor in it.

    Raises:
        TypeError: for something that holds no tensors.
    """
    if isinstance(params, Tensor):
        return function(params)
    if isinstance(params, dict):
        return {key: map_tensors(function, value) for key, value in params.items()}
    if isinstance(params, tuple | list):
        parts = [map_tensors(function, value) for value in params]
        # A NamedTuple takes its fields one by one, other tuples and lists a sequence.
        return type(params)(*parts) if hasattr(params, "_fields") else type(params)(parts)
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        names = [field.name for field in dataclasses.fields(params)]
        return type(params)(**{n: map_tensors(function, getattr(params, n)) for n in names})
    raise TypeError(f"{type(params).__name__} is no tensor and holds none")


def chosen(uniform: Tensor, config: Any) -> Tensor:
    """For which images an augmentation is drawn.

    Args:
        uniform: float32 (N,), uniform in [0, 1).
        config: its settings, with ``enabled`` and the share ``p``.

    Returns:
        bool (N,).
    """
    # Also where it is off: the parameters of a batch have the same form in every configuration.
    return uniform < (config.p if config.enabled else 0.0)


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers in [0, 1) as uniform numbers in [low, high)."""
    return uniform.mul(high - low).add_(low)


def column(values: Tensor, ndim: int) -> Tensor:
    """One value an image, (N,), shaped to broadcast over the rest of an ``ndim``-tensor."""
    return values.view(-1, *(1,) * (ndim - 1))
