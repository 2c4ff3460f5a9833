"""Images read or drawn once and kept as one array in a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from engine.sink import Sink

SIZE = 32
"""Height and width of every image."""

_IMAGE_BYTES = 3 * SIZE * SIZE
_VERSION = 1


@dataclass(frozen=True)
class Found:
    """Images of a source.

    Attributes:
        train: uint8 ``(N, 3, 32, 32)`` and int64 ``(N,)`` labels.
        test: the same of the test images, or None.
        class_names: names of the classes; empty without classes.
        skipped: images that could not be read, with the reason.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor] | None
    class_names: tuple[str, ...]
    skipped: tuple[str, ...] = ()


class _Header(msgspec.Struct):
    """First line of a cache file; the images follow as raw bytes, train before test."""

    version: int
    classes: list[str]
    train: list[int]
    test: list[int] | None
    skipped: list[str]


def cached(data_dir: Path, key: str, sink: Sink, make: Callable[[], Found]) -> Found:
    """What ``make`` gives, from ``data_dir/cache`` when it is there under ``key``.

    A cache that is damaged is made again; one that cannot be written is done without. Both are
    said in the log.
    """
    path = data_dir / "cache" / f"{key}.images"
    found = _load(path, sink)
    if found is None:
        found = make()
        _save(path, found, sink)
    return found


def _load(path: Path, sink: Sink) -> Found | None:
    try:
        with path.open("rb") as file:
            header = msgspec.json.decode(file.readline(), type=_Header)
            if header.version != _VERSION:
                return None
            offset = file.tell()
            count = len(header.train) + len(header.test or [])
            if os.fstat(file.fileno()).st_size != offset + count * _IMAGE_BYTES:
                raise ValueError("wrong size")
            train = _take(file.fileno(), offset, header.train)
            test = None
            if header.test is not None:
                offset += len(header.train) * _IMAGE_BYTES
                test = _take(file.fileno(), offset, header.test)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError):
        sink.log(f"the image cache {path} cannot be used; it is made again")
        return None
    return Found(train, test, tuple(header.classes), tuple(header.skipped))


def _take(descriptor: int, offset: int, labels: list[int]) -> tuple[Tensor, Tensor]:
    images = np.empty((len(labels), 3, SIZE, SIZE), dtype=np.uint8)
    view = memoryview(images.reshape(-1))  # type: ignore[arg-type]
    while view:
        read = os.preadv(descriptor, [view], offset)
        if not read:
            raise ValueError("too short")
        view, offset = view[read:], offset + read
    return torch.from_numpy(images), torch.tensor(labels, dtype=torch.int64)


def _save(path: Path, found: Found, sink: Sink) -> None:
    header = _Header(
        version=_VERSION,
        classes=list(found.class_names),
        train=found.train[1].tolist(),
        test=None if found.test is None else found.test[1].tolist(),
        skipped=list(found.skipped),
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(header) + b"\n")
            for images, _ in filter(None, (found.train, found.test)):
                file.write(images.numpy().tobytes())
        temporary.replace(path)
    except OSError as error:
        sink.log(f"the images are not cached ({error.strerror or error})")
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
