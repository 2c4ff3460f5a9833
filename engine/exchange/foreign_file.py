"""Reading the weights in a file of another program; nothing in it is run."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.errors import DamagedFileError, RunError
from engine.exchange.encoder_formats import ENCODER_FORMATS, require_packages
from engine.files import read_plain, reason
from engine.pretrain.checkpoint_archive import (
    DamagedArchiveError,
    ForeignArchiveError,
    check_archive,
    check_pickle,
)
from engine.text import one_line

LARGEST = 1 << 33
"""Bytes that such a file may have. That of a ResNet-50 with its optimizer has 0.3 GB."""

_LEGACY_PICKLES = 5  # magic number, version, sizes of types, the object, keys of the storages
_LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
_LARGEST_PICKLE = 1 << 25  # bytes, as in ``checkpoint_archive``
_INSIDE = ("state_dict", "model_state_dict", "model")  # where others keep the weights


@dataclass(frozen=True)
class ForeignFile:
    """What a file holds.

    Attributes:
        tensors: by name, on the CPU; no number in them was looked at.
        metadata: texts of a safetensors file; else empty.
        sha256: of the bytes, hexadecimal.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    sha256: str


def read_foreign(path: Path) -> ForeignFile:
    """The tensors in a file of ``torch.save`` or of safetensors.

    A pickle is looked at before it is loaded (``checkpoint_archive``), and loaded with
    ``weights_only=True``: it may hold tensors, numbers, texts, lists and dicts.

    Args:
        path: the file; it may be a link to one.

    Raises:
        DamagedFileError: when it is empty, truncated or damaged.
        RunError: when it cannot be read, is none of these, holds other things, or needs a package
            that is not installed.
    """
    try:
        data = read_plain(path, LARGEST, follow=True)
    except OSError as error:
        raise RunError(f"{_shown(path)} cannot be read: {reason(error)}.") from error
    except MemoryError as error:
        raise RunError(f"{_shown(path)} cannot be read: memory ran out.") from error
    if not data:
        raise DamagedFileError(f"{_shown(path)} is empty.")
    digest = hashlib.sha256(data).hexdigest()
    if data[:2] == b"PK" or data[:2] == b"\x80\x02":
        return ForeignFile(_tensors(_loaded(data, path), path), {}, digest)
    if data[8:9] == b"{" or path.suffix == ".safetensors":
        tensors, metadata = _safetensors(data, path)
        return ForeignFile(tensors, metadata, digest)
    raise RunError(
        f"{_shown(path)} was written neither by torch.save nor by safetensors, so no weights can "
        "be read from it."
    )


def _loaded(data: bytes, path: Path) -> Any:
    """What a file of ``torch.save`` holds."""
    try:
        if data[:2] == b"PK":
            check_archive(data)
        else:
            _check_legacy(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except DamagedArchiveError as error:
        raise DamagedFileError(f"{_shown(path)} is truncated or damaged.") from error
    except ForeignArchiveError as error:
        raise RunError(
            f"{_shown(path)} holds something beside tensors, numbers, texts, lists and dicts, "
            "which could run code, and is not opened; save its state_dict alone where you trust it."
        ) from error
    except Exception as error:  # torch's readers raise nearly anything
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise RunError(f"{_shown(path)} cannot be read: memory ran out.") from error
        raise DamagedFileError(f"{_shown(path)} is truncated or damaged.") from error


def _check_legacy(data: bytes) -> None:
    """Looks at every pickle in a file as torch wrote it before 1.6, and where asked to since.

    Raises:
        DamagedArchiveError: when one is not whole.
        ForeignArchiveError: when it is no such file, or a pickle in it holds other things than
            tensors, numbers, texts, lists and dicts.
    """
    if not data.startswith(_LEGACY_MAGIC):
        raise ForeignArchiveError("it is a pickle of another program")
    stream = io.BytesIO(data)
    for _ in range(_LEGACY_PICKLES):
        start = stream.tell()
        try:
            for _opcode in pickletools.genops(stream):
                if stream.tell() - start > _LARGEST_PICKLE:
                    raise ForeignArchiveError("a pickle in it is too large")
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            raise DamagedArchiveError("a pickle in it is not whole") from error
        check_pickle(data[start : stream.tell()])


def _tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    """The tensors in the dict that holds the weights.

    Raises:
        RunError: when there are none.
    """
    for name in _INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
            break
    found = {
        name: value
        for name, value in (loaded.items() if isinstance(loaded, Mapping) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not found:
        raise RunError(
            f"{_shown(path)} holds no weights by name: it must be a state_dict, or a dict that "
            "holds one as state_dict."
        )
    return found


def _safetensors(data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the texts of a safetensors file, whose reader checks every size in it."""
    require_packages(ENCODER_FORMATS["safetensors"])
    library = importlib.import_module("safetensors.torch")
    try:
        tensors = library.load(data)
    except Exception as error:  # of the library's own kinds, and torch's
        raise DamagedFileError(
            f"{_shown(path)} is no whole safetensors file: it is truncated or damaged."
        ) from error
    if not tensors:
        raise RunError(f"{_shown(path)} holds no weights.")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    texts = header.get("__metadata__") or {}
    return tensors, {str(k): str(v) for k, v in texts.items()}


def _shown(path: Path) -> str:
    return one_line(str(path))
