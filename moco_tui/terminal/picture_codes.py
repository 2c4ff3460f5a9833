"""Pictures as control sequences: Sixel, and Kitty's graphics protocol, by means of textual-image.

Of that library its encoder of Sixel is taken and its table of placeholders. Its widgets ask the
terminal while they are imported, and write past the app, on the descriptor that the app draws on.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 4096  # bytes of base64 in a message (Kitty's graphics protocol, "Direct transmission")
_COLOURS = 256  # registers of Sixel


def scaled(picture: bytes, side: int, width: int, height: int) -> Image:
    """A square RGB picture of another size: larger with hard edges, smaller by means.

    Args:
        picture: row by row: ``3 * side * side`` bytes.
        side: pixels of a side.
        width: pixels of the result.
        height: pixels of the result.
    """
    from PIL import Image

    image = Image.frombytes("RGB", (side, side), picture)
    # A smaller picture first, a larger one after that: each axis may go another way.
    small = image.resize((min(width, side), min(height, side)), Image.Resampling.BOX)
    return small.resize((width, height), Image.Resampling.NEAREST)


@lru_cache(128)  # a picture is drawn anew whenever text was written over it
def sixel(picture: bytes, side: int, width: int, height: int) -> str:
    """A picture in Sixel, of at most 256 colours, for the place of the cursor.

    Args:
        picture: RGB, row by row: ``3 * side * side`` bytes.
        side: pixels of a side.
        width: pixels on the screen.
        height: pixels on the screen.

    Raises:
        ImportError: textual-image is not installed, or one that differs.
    """
    from PIL import Image
    from textual_image._sixel import image_to_sixels

    found = scaled(picture, side, width, height)
    # Few pixels have few colours: the palette is theirs, and a library of any version keeps it.
    palette = found.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return image_to_sixels(palette)


@lru_cache(128)
def kitty_data(picture: bytes, side: int, width: int, height: int) -> str:
    """A picture as PNG in base64.

    Args:
        picture: RGB, row by row: ``3 * side * side`` bytes.
        side: pixels of a side.
        width: pixels on the screen.
        height: pixels on the screen.
    """
    file = BytesIO()
    scaled(picture, side, width, height).save(file, format="PNG", compress_level=2)
    return b64encode(file.getvalue()).decode("ascii")


def kitty_upload(number: int, data: str, columns: int, rows: int) -> str:
    """Sends a picture to the terminal, to be shown where placeholders of its number stand.

    Args:
        number: of the picture, in 24 bits.
        data: of ``kitty_data``.
        columns: cells that it fills.
        rows: cells that it fills.
    """
    parts = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    # q=2: the terminal answers nothing, which would be read as keys.
    head = f"a=T,U=1,i={number},f=100,c={columns},r={rows},q=2"
    messages = []
    for place, part in enumerate(parts):
        more = int(place + 1 < len(parts))
        keys = f"{head},m={more}" if place == 0 else f"m={more},q=2"
        messages.append(f"\x1b_G{keys};{part}\x1b\\")
    return "".join(messages)


def kitty_placeholders(number: int, columns: int, rows: int) -> list[str]:
    """For each row of cells the characters that show a part of a picture.

    Args:
        number: of the picture, in 24 bits, which is told by the colour of the text.
        columns: cells that it fills, at most 297.
        rows: cells that it fills, at most 297.

    Raises:
        ImportError: textual-image is not installed, or one that differs.
    """
    mark, numbers = _placeholder_table()
    colour = f"\x1b[38;2;{number >> 16 & 255};{number >> 8 & 255};{number & 255}m"
    return [
        colour + "".join(f"{mark}{numbers[row]}{numbers[column]}" for column in range(columns))
        for row in range(rows)
    ]


def kitty_delete(number: int) -> str:
    """Has the terminal forget a picture, its data and where it is shown."""
    return f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\"


@lru_cache(1)
def _placeholder_table() -> tuple[str, list[str]]:
    """The placeholder, and the marks above it that stand for the numbers from 0."""
    stdout = sys.__stdout__
    sys.__stdout__ = None  # type: ignore[misc]
    try:  # without a stdout the library asks no terminal as it is imported
        from textual_image.renderable.tgp import _NUMBER_TO_DIACRITIC, _PLACEHOLDER
    finally:
        sys.__stdout__ = stdout  # type: ignore[misc]
    return chr(_PLACEHOLDER), [chr(code) for code in _NUMBER_TO_DIACRITIC]
