"""A terminal that answers questions about pictures, and decoders of the pictures it is sent."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from tests.pseudo_terminal import Terminal

KITTY = {
    b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\": b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b[>0q": b"\x1bP>|kitty(0.42.1)\x1b\\",
    b"\x1b[16t": b"\x1b[6;18;9t",
    b"\x1b[c": b"\x1b[?62;52;c",
}
"""What Kitty answers."""
SIXEL = {b"\x1b[16t": b"\x1b[6;20;10t", b"\x1b[c": b"\x1b[?62;4;22c"}
"""What a terminal with Sixel answers (as foot does)."""
PLAIN = {b"\x1b[c": b"\x1b[?1;2c"}
"""What a VT100 answers."""
SILENT: dict[bytes, bytes] = {}

_STRING = re.compile(rb"\x1b[_P][^\x1b]*\x1b\\")
_BEGUN = re.compile(rb"\x1b(?:[_P][^\x1b]*\x1b?)?\Z")
_SIXEL = re.compile(rb'\x1b\[(\d+);(\d+)H\x1bP[\d;]*q"1;1;(\d+);(\d+)([^\x1b]*)\x1b\\')
_MESSAGE = re.compile(rb"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")


class PictureTerminal(Terminal):
    """A terminal that answers, and keeps all that it is sent.

    Attributes:
        answers: to each question.
        raw: what the program has written.
    """

    def __init__(self, *args: Any, answers: dict[bytes, bytes], **more: Any) -> None:
        self.answers, self.raw = answers, b""
        self._told = dict.fromkeys(answers, 0)
        self._rest = b""
        super().__init__(*args, **more)

    def take(self, data: bytes) -> None:
        self.raw += data
        for question, answer in self.answers.items():
            for _ in range(self.raw.count(question) - self._told[question]):
                self._told[question] += 1
                os.write(self.master, answer)
        # pyte knows no strings of these kinds: it would print them
        text = _STRING.sub(b"", self._rest + data)
        begun = _BEGUN.search(text)
        self._rest = begun[0] if begun else b""
        super().take(text.removesuffix(self._rest).replace(b"\x1b[>0q", b""))


def sixels(raw: bytes) -> list[tuple[int, int, np.ndarray]]:
    """Pictures in Sixel: row and column from 0, and pixels (height, width, 3) as uint8."""
    found = []
    for match in _SIXEL.finditer(raw):
        row, column, width, height = (int(match[n]) for n in range(1, 5))
        found.append((row - 1, column - 1, sixel_pixels(match[5], width, height)))
    return found


def sixel_pixels(body: bytes, width: int, height: int) -> np.ndarray:
    """What stands behind the size of a picture in Sixel (DEC STD 070, chapter 9), as pixels."""
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    registers: dict[int, tuple[int, ...]] = {}
    colour, x, top, repeat = 0, 0, 0, 1
    for token in re.finditer(rb"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)|\$|-|[?-~]", body):
        text = token[0]
        if text.startswith(b"#"):
            colour = int(token[1])
            if token[2] is not None:
                registers[colour] = tuple(round(int(token[n]) * 2.55) for n in (2, 3, 4))
        elif text.startswith(b"!"):
            repeat = int(token[5])
        elif text == b"$":
            x = 0
        elif text == b"-":
            x, top = 0, top + 6
        else:
            for bit in range(6):
                if (text[0] - 63) >> bit & 1:
                    pixels[top + bit, x : x + repeat] = registers[colour]
            x, repeat = x + repeat, 1
    return pixels


def kitty_pictures(raw: bytes) -> dict[int, np.ndarray]:
    """Pictures that were sent by Kitty's protocol, by number: (height, width, 3) as uint8."""
    found: dict[int, np.ndarray] = {}
    number, data = 0, b""
    for match in _MESSAGE.finditer(raw):
        keys = dict(pair.split(b"=") for pair in match[1].split(b","))
        if keys.get(b"a") in (b"q", b"d"):
            continue
        if keys.get(b"a") == b"T":
            number, data = int(keys[b"i"]), b""
        data += match[2]
        assert len(match[2]) <= 4096
        if keys[b"m"] == b"0":
            found[number] = np.asarray(Image.open(BytesIO(b64decode(data))).convert("RGB"))
    return found


def kitty_deleted(raw: bytes) -> set[int]:
    """Numbers of the pictures that the terminal was told to forget."""
    return {int(number) for number in re.findall(rb"\x1b_Ga=d,d=I,i=(\d+)[,\x1b]", raw)}


def nearest(picture: bytes, side: int, width: int, height: int) -> np.ndarray:
    """The nearest pixel for each of a larger picture; of two as near, none is more right.

    There are no two where the size is a multiple of ``side``, or ``side`` is odd.
    """
    source = np.frombuffer(picture, dtype=np.uint8).reshape(side, side, 3)
    rows = [int((y + 0.5) * side / height) for y in range(height)]
    columns = [int((x + 0.5) * side / width) for x in range(width)]
    return source[rows][:, columns]
