"""A data set of the user's own, named in ``data.source`` as ``package.module:Name``.

``Name`` is a function (or a class) that is called with the folder for data sets, a ``Path``, and
gives ``train, test`` or ``train, test, class_names``:

    train, test: ``images, labels`` each; images are uint8 (N, 3, S, S) where S is
        ``data.image_size`` (32 where that is left open), labels whole numbers (N,) from 0 on, of
        any type, and -1 for a training image without one; tensors or NumPy arrays. ``test`` may be
        None.
    class_names: a text for each label; without them the classes are called "0", "1", ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.config.data.data_set import SIZE
from engine.errors import DataError, described


class OwnImages(NamedTuple):
    """Images and labels as ``Split`` takes them, and the names of the classes."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor] | None
    class_names: tuple[str, ...]


def load_own(
    source: str, make: Callable[[Path], Any], data_dir: Path, size: int = SIZE
) -> OwnImages:
    """Calls the user's function and checks what it gives.

    Args:
        source: ``package.module:Name``, for the messages.
        make: what it names.
        data_dir: the folder for data sets; it may not exist yet.
        size: height and width that its images must have, in pixels.

    Raises:
        DataError: one sentence on what does not fit.
    """
    if not callable(make):
        raise _refusal(source, "it must be a function that is called with the folder for data sets")
    try:
        found = make(data_dir)
    except Exception as error:  # the user's code may raise anything
        why = described(error)
        raise _refusal(source, f"it fails ({why})") from error
    if not isinstance(found, tuple | list) or len(found) not in (2, 3):
        raise _refusal(source, "it must give train, test or train, test, class_names")
    train = _split(source, "train", found[0], size, least=-1)
    test = None if found[1] is None else _split(source, "test", found[1], size, least=0)
    labels = [part[1] for part in (train, test) if part is not None and len(part[1])]
    classes = 1 + max((int(part.max()) for part in labels), default=-1)
    # More names than labels are fine: a class may be missing from both parts.
    names = tuple(map(str, found[2] if len(found) == 3 else range(classes)))
    if len(names) < classes:
        raise _refusal(
            source, f"its largest label is {classes - 1} and it names {len(names)} classes"
        )
    return OwnImages(train, test, names)


def _split(source: str, part: str, found: Any, size: int, *, least: int) -> tuple[Tensor, Tensor]:
    if not isinstance(found, Sequence) or len(found) != 2:
        raise _refusal(source, f"its {part} must be a pair of images and labels")
    try:
        images, labels = (torch.as_tensor(value).cpu() for value in found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refusal(source, f"its {part} holds what is no array ({error})") from error
    if images.dtype != torch.uint8 or images.shape[1:] != (3, size, size):
        kind = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        wanted = f"uint8 (N, 3, {size}, {size})"
        raise _refusal(
            source,
            f"its {part} images are {kind}; they must be {wanted}, the size that data.image_size "
            "names",
        )
    if labels.is_floating_point() or labels.shape != images.shape[:1] or (labels < least).any():
        without = ", or -1 without a label" if least < 0 else ""
        raise _refusal(
            source,
            f"its {part} labels must be {len(images)} whole numbers from 0 on, one an image"
            f"{without}",
        )
    if not len(images):
        raise _refusal(source, f"its {part} holds no image")
    return images.contiguous(), labels.to(torch.int64)


def _refusal(source: str, why: str) -> DataError:
    return DataError(f"data.source is {source}, but {why}.")
