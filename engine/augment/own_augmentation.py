"""An augmentation of the user's own, named in ``augment.order`` as ``package.module:Name``.

``Name`` is a class (or any callable) that is called without arguments. What comes back has

    numbers: how many uniform random numbers an image takes, a whole number >= 1;
    params(uniform): the parameters of N images, made of ``uniform``, float32 (N, numbers) in
        [0, 1): a tensor of N rows, or a dataclass, dict, tuple or list of such. No randomness of
        its own, so that a run can be resumed;
    apply(images, params): the augmented images, float32 (N, 3, H, W), of ``images`` of that shape
        with values in [0, 1], which it may write to. It may be called from several threads, each
        with some of the images of a batch.

For example, an image in five loses everything above a threshold of its own::

    class Clip:
        numbers = 2

        def params(self, uniform):
            return torch.where(uniform[:, 0] < 0.2, uniform[:, 1], 1.0)

        def apply(self, images, params):
            return images.minimum(params.view(-1, 1, 1, 1))
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.augment.augmentation import map_tensors, take
from engine.config.augment import AUGMENTATIONS
from engine.errors import ConfigError, described

_TRIAL = 3  # images that an augmentation is tried on
_SLICED = 2  # of them after slicing, as the augmenter slices a batch into chunks


class OwnAugmentation:
    """Adapts an augmentation of the user's own to ``Photometry``, after a trial on a few images.

    Args:
        path: ``package.module:Name``.
        size: height and width of the images, in pixels.

    Raises:
        ConfigError: one sentence on what does not fit.
    """

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        found = AUGMENTATIONS.load(path)
        if not callable(found):
            raise self._refusal("it must be a class, or a function that makes an augmentation")
        try:
            self._inner = found()
            self._try(size)
        except ConfigError:
            raise
        except Exception as error:  # the user's code may raise anything
            reason = described(error)
            raise self._refusal(f"it fails on a few gray images ({reason})") from error

    @property
    def numbers(self) -> int:
        """How many uniform numbers an image takes."""
        return int(self._inner.numbers)

    def params(self, uniform: Tensor) -> Any:
        """See ``Augmentation.params``."""
        return self._inner.params(uniform)

    def apply(self, images: Tensor, params: Any, *, dense: bool) -> Tensor:
        """See ``Photometry.apply``; there is one way for both."""
        result: Tensor = self._inner.apply(images, params)
        return result

    def _try(self, size: int) -> None:
        """Calls it once with a few gray images.

        Without drawing any random number: a run has the same numbers whether it was tried or not.

        Raises:
            ConfigError: when something does not fit.
        """
        for name in ("params", "apply"):
            if not callable(getattr(self._inner, name, None)):
                raise self._refusal(f"it must have a method {name}")
        numbers = getattr(self._inner, "numbers", None)
        if not isinstance(numbers, int) or isinstance(numbers, bool) or numbers < 1:
            raise self._refusal(f"its numbers is {numbers!r}; it must be a whole number from 1 on")
        params = self._inner.params(torch.full((_TRIAL, numbers), 0.5))
        try:
            rows = []
            map_tensors(lambda tensor: rows.append(len(tensor)), params)
            params = take(params, slice(0, _SLICED))
        except TypeError as error:
            raise self._refusal(
                f"its params must be tensors with a row an image: {error}"
            ) from error
        if not rows or set(rows) != {_TRIAL}:
            raise self._refusal(
                f"its params must be tensors with a row an image, and of {_TRIAL} images they have "
                f"{', '.join(map(str, rows)) or 'none'}"
            )
        shape = (_SLICED, 3, size, size)
        result = self._inner.apply(torch.full(shape, 0.5), params)
        if not isinstance(result, Tensor):
            raise self._refusal(f"its apply gives {type(result).__name__}; it must give a tensor")
        if result.shape != shape or result.dtype != torch.float32:
            raise self._refusal(
                f"its apply gives {_kind(result)} for images of {_kind(torch.empty(shape))}; it "
                "must keep shape and type"
            )

    def _refusal(self, why: str) -> ConfigError:
        return ConfigError(f"augment.order names {self._path}, but {why}.", "augment.order")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
