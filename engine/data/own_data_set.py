"""A data set of the user's own, named in ``data.source`` as ``package.module:Name``.

``Name`` is a function (or a class) that is called with the folder for data sets, a ``Path``, and
gives ``train, test`` or ``train, test, class_names``:

    train, test: ``images, labels`` each; images are uint8 (N, 3, 32, 32), labels whole numbers (N,)
        from 0 on, of any type; tensors or NumPy arrays. ``test`` may be None.
    class_names: a text for each label; without them the classes are called "0", "1", ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from engine.errors import DataError, described

_SHAPE = (3, 32, 32)


class OwnImages(NamedTuple):
    """Images and labels as ``Split`` takes them, and the names of the classes."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor] | None
    class_names: tuple[str, ...]


def load_own(source: str, make: Callable[[Path], Any], data_dir: Path) -> OwnImages:
    """Calls the user's function and checks what it gives.

    Args:
        source: ``package.module:Name``, for the messages.
        make: what it names.
        data_dir: the folder for data sets; it may not exist yet.

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
    train = _split(source, "train", found[0])
    test = None if found[1] is None else _split(source, "test", found[1])
    labels = [part[1] for part in (train, test) if part is not None and len(part[1])]
    classes = 1 + max((int(part.max()) for part in labels), default=-1)
    # More names than labels are fine: a class may be missing from both parts.
    names = tuple(map(str, found[2] if len(found) == 3 else range(classes)))
    if len(names) < classes:
        raise _refusal(
            source, f"its largest label is {classes - 1} and it names {len(names)} classes"
        )
    return OwnImages(train, test, names)


def _split(source: str, part: str, found: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(found, Sequence) or len(found) != 2:
        raise _refusal(source, f"its {part} must be a pair of images and labels")
    try:
        images, labels = (torch.as_tensor(value).cpu() for value in found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _refusal(source, f"its {part} holds what is no array ({error})") from error
    if images.dtype != torch.uint8 or images.shape[1:] != _SHAPE:
        kind = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
        raise _refusal(source, f"its {part} images are {kind}; they must be uint8 (N, 3, 32, 32)")
    if labels.is_floating_point() or labels.shape != images.shape[:1] or (labels < 0).any():
        raise _refusal(
            source, f"its {part} labels must be {len(images)} whole numbers from 0 on, one an image"
        )
    if not len(images):
        raise _refusal(source, f"its {part} holds no image")
    return images.contiguous(), labels.to(torch.int64)


def _refusal(source: str, why: str) -> DataError:
    return DataError(f"data.source is {source}, but {why}.")
