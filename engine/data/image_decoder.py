"""One image file as a square of pixels: whatever Pillow reads, told by its content alone."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, features

from engine.config.data.data_set import SIZE
from engine.data.decoding_memory import BUDGET, MOST_BYTES, MOST_PIXELS, memory_of, needs_all
from engine.files import open_plain, reason
from engine.text import clean_text

# EPS and WMF start another program or the system's renderer, the others only name their content.
_NOT_READ = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5"}
if int(PIL.__version__.partition(".")[0]) < 13:
    _NOT_READ.add("DDS")  # there Pillow works for minutes on a damaged file of a few hundred bytes
_DECODING = 2
"""Of this module: raised when the same file gives other pixels than before."""

_TOO_MANY = f"more than the {MOST_PIXELS:,} pixels that an image may have"
_BAND_PIXELS = 1 << 20  # that are made colours at a time

# Factor from a gray value of few bits to the 8 bits that Pillow makes of it.
_FEW_BITS = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class Broken:
    """A file that gave no image.

    Attributes:
        why: the reason, in words.
        lasting: whether it will be as unreadable the next time.
        foreign: it is no image and is not called one: nothing is wrong with it.
    """

    why: str
    lasting: bool
    foreign: bool = False


@functools.cache
def _formats() -> tuple[tuple[str, ...], dict[str, str]]:
    """Formats that are told by their first bytes, and by suffix those that cannot be."""
    Image.init()
    told = [name for name, (_, accept) in Image.OPEN.items() if accept and name not in _NOT_READ]
    # Without a mark of their own (TGA): any file might pass for one.
    unmarked = {name for name, (_, accept) in Image.OPEN.items() if accept is None}
    by_suffix = {end: name for end, name in Image.EXTENSION.items() if name in unmarked}
    return tuple(told), by_suffix


def _formats_for(path: Path) -> list[str]:
    told, by_suffix = _formats()
    extra = by_suffix.get(path.suffix.lower())
    return [*told, extra] if extra else list(told)


@functools.cache
def _suffixes() -> frozenset[str]:
    """The suffixes of what is read, in small letters."""
    told, by_suffix = _formats()
    return frozenset({*by_suffix, *(e for e, name in Image.EXTENSION.items() if name in told)})


def is_called_image(name: str) -> bool:
    """Whether a file's name claims that it is an image."""
    return os.path.splitext(name)[1].lower() in _suffixes()  # noqa: PTH122 - of many, as texts


@functools.cache
def decoder(size: int = SIZE) -> str:
    """Everything that the pixels of a file depend on beside the file: part of a cache's key.

    Args:
        size: height and width of the images, in pixels.
    """
    codecs = ("jpg", "jpg_2000", "zlib", "libtiff")
    found = {name: features.version_codec(name) for name in codecs}
    found["libjpeg_turbo"] = features.version_feature("libjpeg_turbo")
    modules = [name for name in ("webp", "avif") if name in features.modules]
    found |= {name: features.version_module(name) for name in modules}
    versions = " ".join(f"{name} {version}" for name, version in found.items() if version)
    return f"{decoder_name()}, {versions}, decoding {_DECODING}, size {size}"


def decoder_name() -> str:
    """The decoder in two words, for people."""
    return f"Pillow {PIL.__version__}"


def is_image(path: Path) -> bool:
    """Whether a file looks like an image by its first bytes; nothing is decoded."""
    try:
        with _open(path) as file:
            if _size_of(file) > MOST_BYTES:
                return False
            with Image.open(file, formats=_formats_for(path)):
                return True
    except Exception:  # openers of malformed bytes raise nearly anything
        return False


def _open(path: Path) -> BinaryIO:
    """A plain file, or what a link leads to; no pipe or device, which may have no end.

    Raises:
        OSError: when it is none, or cannot be opened.
    """
    return os.fdopen(open_plain(path, os.O_RDONLY, follow=True, follow_folder=True), "rb")


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def decode(path: Path, size: int = SIZE) -> NDArray[np.uint8] | Broken:
    """An image as uint8 (3, size, size), or why not.

    Of several frames or pages the first counts. Gray becomes colour, what is transparent black, the
    orientation that a camera noted is applied; other sizes are resized (``fitted``). Waits where
    the images that other threads decode leave too little memory (see ``decoding_memory``).

    Args:
        path: the file.
        size: height and width of the result, in pixels.
    """
    foreign = not is_called_image(path.name)
    try:
        with _open(path) as file:
            length = _size_of(file)
            if length > MOST_BYTES:
                why = f"more than the {MOST_BYTES:,} bytes that a file may have"
                return Broken(why, lasting=True, foreign=foreign)
            with BUDGET.hold(BUDGET.most if needs_all(length) else 0):
                return _decoded(file, path, 0 if needs_all(length) else BUDGET.most, size)
    except UnidentifiedImageError:
        return Broken("not an image", lasting=True, foreign=foreign)
    except Image.DecompressionBombError:
        return Broken(_TOO_MANY, lasting=True)
    except Exception as error:  # decoders of malformed bytes raise nearly anything
        # With an errno it is an error of the disk; Pillow's own OSErrors have none.
        if isinstance(error, OSError) and error.errno:
            return Broken(reason(error), lasting=False)
        why = clean_text(str(error), 80) or type(error).__name__
        return Broken(why, lasting=not isinstance(error, MemoryError))


def fitted(colour: Image.Image, size: int) -> NDArray[np.uint8]:
    """An image in mode RGB as uint8 (3, size, size).

    The short side is brought to that size, and the middle is taken, by Pillow's bicubic
    interpolation, which averages over all pixels where an image becomes smaller (antialiased).
    """
    if colour.size != (size, size):
        colour = ImageOps.fit(colour, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(colour).transpose(2, 0, 1)  # (H, W, 3) -> (3, H, W)


def _decoded(file: BinaryIO, path: Path, most: int, size: int) -> NDArray[np.uint8] | Broken:
    """See ``decode``; takes up to ``most`` bytes of the memory for decoding.

    Raises:
        Exception: nearly any, for malformed bytes.
    """
    with Image.open(file, formats=_formats_for(path)) as image:
        full_size = image.size
        if image.width * image.height > MOST_PIXELS:
            return Broken(_TOO_MANY, lasting=True)
        if image.format in ("JPEG", "MPO") and min(image.size) >= 4 * size:
            # Has the JPEG decoder scale a large photograph down while it decodes, to no less
            # than twice the final size.
            image.draft("RGB", (2 * size, 2 * size))
        _match_transparent_colour(image)
        with BUDGET.hold(memory_of(image, full_size, most)), _quiet(image):
            return fitted(_in_bands(_upright(image)), size)


def _match_transparent_colour(image: ImageFile.ImageFile) -> None:
    """Puts the transparent colour of a PNG into the range of the pixels that Pillow makes.

    A PNG names it in the bits of the file (PNG, third edition, section 11.3.1.1). Pillow turns gray
    of 2 and 4 bits and colour of 16 into 8 bits and leaves that number as it was. Of colours of 16
    bits only the upper 8 are left to compare.
    """
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None or not image.tile:
        return
    raw = image.tile[0][3]  # how the file's samples are packed
    if raw in _FEW_BITS and isinstance(colour, int):
        image.info["transparency"] = colour * _FEW_BITS[str(raw)]
    elif raw == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(sample >> 8 for sample in colour)


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    try:
        ImageOps.exif_transpose(image, in_place=True)  # else a copy of what is upright already
    except Exception:  # malformed EXIF data; the pixels may be sound
        image.load()
    return image


def _in_bands(image: Image.Image) -> Image.Image:
    """The image in mode RGB; what is transparent is black.

    Worked out in bands of rows, since some ways to it take 40 bytes a pixel.
    """
    if image.mode == "RGB" and image.info.get("transparency") is None:
        return image
    rows = max(1, _BAND_PIXELS // image.width)
    boxes = [
        (0, top, image.width, min(top + rows, image.height)) for top in range(0, image.height, rows)
    ]
    # Floating-point samples are from 0 to 1 by convention; larger ones can only be 0 to 255.
    unit = image.mode == "F" and all(
        _floats(image.crop(box)).max(initial=0.0) <= 1.0 for box in boxes
    )
    if len(boxes) == 1:
        return _to_rgb(image, unit=unit)
    colour = Image.new("RGB", image.size)
    for box in boxes:
        colour.paste(_to_rgb(image.crop(box), unit=unit), box)
    return colour


def _to_rgb(image: Image.Image, *, unit: bool) -> Image.Image:
    """The image in mode RGB; what is transparent is black.

    Args:
        image: in any mode.
        unit: whether floating-point samples are from 0 to 1.
    """
    colour = image.info.get("transparency")
    if image.mode.startswith("I"):  # 16 bits a pixel: convert() would clip at 255
        samples = np.asarray(image)
        values = samples.astype(np.float64) * (255.0 / 65535.0)
        if isinstance(colour, int):
            values[samples == colour] = 0.0
        return _gray(values)
    if image.mode == "F":
        values = _floats(image)
        return _gray(values * 255.0 if unit else values)
    if image.mode == "1" and isinstance(colour, int):
        # In 8 bits: up to Pillow 12 the colour of 1 bit is named by one bit or by eight.
        del image.info["transparency"]
        image = image.convert("L")
        image.info["transparency"] = 255 if colour else 0
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or colour is not None:
        layer = image.convert("RGBA")
        black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, layer).convert("RGB")
    return image.convert("RGB")


def _floats(image: Image.Image) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image).astype(np.float64), nan=0.0)


def _gray(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")


# ------------------------------------------------------------------------- stray output

_muting = threading.Lock()
_muted: list[int] = []  # a duplicate of descriptor 2 while it is muted, once for each thread


@contextmanager
def _quiet(image: ImageFile.ImageFile) -> Iterator[None]:
    """Drops what libtiff writes to descriptor 2 about damaged files; it has no other way to tell.

    The lines hold bytes of the file, and would land on the screen.
    """
    if not any(tile[0] == "libtiff" for tile in image.tile):
        yield
        return
    with _muting:
        _muted.append(_mute() if not _muted else _muted[0])
    try:
        yield
    finally:
        with _muting:
            saved = _muted.pop()
            if not _muted and saved >= 0:
                os.dup2(saved, 2)
                os.close(saved)


def _mute() -> int:
    """Points descriptor 2 to nowhere; returns a duplicate of what it was, -1 where it is closed."""
    try:
        saved = os.dup(2)
    except OSError:
        return -1
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 2)
    os.close(null)
    return saved
