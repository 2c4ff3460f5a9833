"""Pictures as characters: half blocks, or a ramp of characters from dark to light."""

from __future__ import annotations

from functools import lru_cache

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

RAMP = " .:-=+*#%@"
"""Characters from dark to light, for terminals that draw in ASCII alone."""


@lru_cache(16384)  # a picture of 32 x 32 pixels has 512 cells; they are drawn anew on a resize
def _half(top: tuple[int, int, int], bottom: tuple[int, int, int]) -> Style:
    return Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom))


def picture_line(
    picture: bytes, pixels: int, line: int, base: Style, *, ascii_only: bool
) -> list[Segment]:
    """A line of a picture: cells of two pixels, one above the other.

    The upper half block has the colour of the upper pixel, its background that of the lower.

    Args:
        picture: RGB, row by row: ``3 * pixels * pixels`` bytes.
        pixels: width and height, even.
        line: from the top, below ``pixels // 2``.
        base: the style of a picture in ASCII.
        ascii_only: draw with ``RAMP``.
    """
    top = 2 * line * pixels * 3
    bottom = top + pixels * 3
    if ascii_only:
        text = []
        for x in range(pixels):
            a, b = top + 3 * x, bottom + 3 * x
            light = sum(picture[a : a + 3]) + sum(picture[b : b + 3])
            text.append(RAMP[light * len(RAMP) // 1531])  # 1531 = 2 * 3 * 255 + 1
        return [Segment("".join(text), base)]
    return [
        Segment(
            "▀",
            _half(
                (picture[a], picture[a + 1], picture[a + 2]),
                (picture[b], picture[b + 1], picture[b + 2]),
            ),
        )
        for a, b in ((top + 3 * x, bottom + 3 * x) for x in range(pixels))
    ]


@lru_cache(1024)
def resized(picture: bytes, size: int, pixels: int) -> bytes:
    """A square RGB picture of another size; a smaller one is the mean of what it covers."""
    if size == pixels:
        return picture
    from PIL import Image  # the first screen shows no picture

    image = Image.frombytes("RGB", (size, size), picture)
    how = Image.Resampling.BOX if pixels < size else Image.Resampling.NEAREST
    return image.resize((pixels, pixels), how).tobytes()
