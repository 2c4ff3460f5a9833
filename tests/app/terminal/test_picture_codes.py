"""Pictures in Sixel and in Kitty's protocol are, decoded again, the pictures they were."""

from __future__ import annotations

import random
import re
import subprocess
import sys

import numpy as np
import pytest

from moco_tui.terminal import picture_codes as codes

from ...picture_terminal import kitty_deleted, kitty_pictures, nearest, sixel_pixels, sixels

pytest.importorskip("textual_image")


def noise(side: int, colours: int, seed: int = 5) -> bytes:
    """Pixels of so many colours."""
    chance = random.Random(seed)
    palette = [bytes(chance.randrange(256) for _ in range(3)) for _ in range(colours)]
    return b"".join(chance.choice(palette) for _ in range(side * side))


@pytest.mark.parametrize(("side", "size"), [(32, (160, 160)), (27, (200, 220)), (28, (252, 252))])
def test_sixel_shows_the_nearest_pixels(side: int, size: tuple[int, int]) -> None:
    picture = noise(side, 60)
    ((row, column, pixels),) = sixels(b"\x1b[3;7H" + codes.sixel(picture, side, *size).encode())
    assert (row, column) == (2, 6)
    wanted = nearest(picture, side, *size).astype(int)
    # a register is in percent, so half a percent of 255 is lost, and its rounding
    assert np.abs(pixels.astype(int) - wanted).max() <= 2


def test_sixel_of_more_than_256_colours_stays_close() -> None:
    """Smooth pictures, as photographs are; noise of a thousand colours has no close palette."""
    ramp = bytes(part for y in range(32) for x in range(32) for part in (8 * x, 8 * y, 4 * (x + y)))
    text = codes.sixel(ramp, 32, 160, 160).encode()
    head = re.match(rb'\x1bP[\d;]*q"1;1;160;160', text)
    assert head
    pixels = sixel_pixels(text[head.end() : -2], 160, 160)
    off = np.abs(pixels.astype(int) - nearest(ramp, 32, 160, 160))
    assert off.mean() < 5
    assert off.max() < 24


@pytest.mark.parametrize(("side", "size"), [(32, (160, 160)), (27, (144, 290)), (28, (252, 252))])
def test_kitty_shows_the_nearest_pixels(side: int, size: tuple[int, int]) -> None:
    picture = noise(side, 1000)
    text = codes.kitty_upload(77, codes.kitty_data(picture, side, *size), 16, 8)
    found = kitty_pictures(text.encode())
    assert list(found) == [77]
    assert (found[77] == nearest(picture, side, *size)).all()
    first = text.partition(";")[0]
    assert {"a=T", "U=1", "c=16", "r=8", "q=2"} <= set(first.removeprefix("\x1b_G").split(","))


def test_a_picture_with_more_pixels_than_its_cells_is_averaged() -> None:
    picture = noise(224, 1000)
    source = np.frombuffer(picture, dtype=np.uint8).reshape(224, 224, 3)
    found = np.asarray(codes.scaled(picture, 224, 112, 56)).astype(float)
    wanted = source.reshape(56, 4, 112, 2, 3).mean(axis=(1, 3))
    assert np.abs(found - wanted).max() <= 1


def test_each_placeholder_names_its_picture_and_its_cell() -> None:
    number = 0x0A0B0C
    lines = codes.kitty_placeholders(number, 40, 3)
    assert len(lines) == 3
    # the first of Kitty's table rowcolumn-diacritics.txt
    first, second, third = "\u0305", "\u030d", "\u030e"
    for line, row in zip(lines, (first, second, third), strict=True):
        head, cells = line[: line.index("\U0010eeee")], line[line.index("\U0010eeee") :]
        assert head == "\x1b[38;2;10;11;12m"
        assert len(cells) == 40 * 3
        assert cells[::3] == "\U0010eeee" * 40
        assert cells[1::3] == row * 40
        assert (cells[2], cells[5], cells[8]) == (first, second, third)
        assert len(set(cells[2::3])) == 40


def test_a_picture_that_is_forgotten_is_named() -> None:
    assert kitty_deleted(codes.kitty_delete(66051).encode()) == {66051}


def test_the_library_is_imported_without_a_word_to_the_terminal() -> None:
    program = (
        "import sys; from moco_tui.terminal.picture_codes import kitty_placeholders as p\n"
        "sys.stdout.isatty = lambda: True\n"
        "before = sys.__stdout__; p(1, 2, 2); assert sys.__stdout__ is before"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == done.stderr == b""
