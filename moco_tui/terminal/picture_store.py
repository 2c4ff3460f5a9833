"""The pictures of an app on its terminal: how they are shown, and which the terminal holds."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from typing import NamedTuple

from moco_tui.terminal.picture_protocol import chosen_pictures, has_library, may_ask

_MOST_HELD = 120
"""Pictures that the terminal holds; forgetting them all at the end takes less than 4096 bytes."""


class PictureSpot(NamedTuple):
    """A picture, and the cells of a widget that it fills.

    Attributes:
        x: column of the widget.
        y: row of the widget.
        columns: width in cells.
        rows: height in cells.
        picture: RGB, row by row: ``3 * side * side`` bytes.
        side: pixels of a side.
    """

    x: int
    y: int
    columns: int
    rows: int
    picture: bytes
    side: int


_Key = tuple[bytes, int, int, tuple[int, int]]


def _key(spot: PictureSpot, cell: tuple[int, int]) -> _Key:
    """What a picture depends on that a terminal holds."""
    return spot.picture, spot.columns, spot.rows, cell


class PictureStore:
    """How pictures are shown, and those that the terminal holds.

    Args:
        ascii_only: the terminal shows nothing but ASCII.

    Attributes:
        letters: pictures are drawn with letters.
        protocol: ``kitty`` or ``sixel``; ``blocks`` where pictures are characters; empty while the
            terminal has not been asked, or has not answered.
        asked: the terminal has been asked.

    Raises:
        UserError: ``MOCO_TUI_PICTURES`` says something that it cannot.
    """

    def __init__(self, *, ascii_only: bool) -> None:
        choice = chosen_pictures()
        self.letters = ascii_only or choice == "letters"
        self.asked = False
        self.protocol = "blocks"
        if choice == "sixel" or (choice == "kitty" and not ascii_only):
            self.protocol = choice
        elif choice == "auto" and not ascii_only and may_ask() and has_library():
            self.protocol = ""
        self._said_cell = 0, 0
        # Any 16 bits, so that pictures of programs before this one are not overwritten.
        self._first = (int.from_bytes(os.urandom(2)) | 1) << 8
        self._held: dict[_Key, int] = {}
        self._used = False

    def learn(self, protocol: str, cell: tuple[int, int]) -> None:
        """Keep what the terminal has said: its protocol, and the size of a cell in pixels."""
        self._said_cell = cell
        self.protocol = self.protocol or protocol

    def cell(self, fd: int) -> tuple[int, int]:
        """Width and height of a cell in pixels; zeros where the terminal does not say it.

        Args:
            fd: the terminal, whose size changes with its font.
        """
        try:
            found = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return self._said_cell
        rows, columns, width, height = struct.unpack("HHHH", found)
        if not (rows and columns and width >= columns and height >= rows):
            return self._said_cell
        return width // columns, height // rows

    def keep(self, spot: PictureSpot, cell: tuple[int, int]) -> None:
        """Have a picture that is in sight not be the next that the terminal forgets."""
        key = _key(spot, cell)
        if key in self._held:
            self._held[key] = self._held.pop(key)

    def draw(self, spot: PictureSpot, x: int, y: int, cell: tuple[int, int]) -> str:
        """What draws a picture; empty where it cannot be drawn.

        Args:
            spot: the picture.
            x: column of the screen, from 0.
            y: row of the screen, from 0.
            cell: width and height of a cell in pixels; zeros: unknown.
        """
        try:
            return self._drawn(spot, x, y, cell)
        except ImportError:  # a version of the library that lacks what is taken from it
            self.protocol = "blocks"
            return ""

    def _drawn(self, spot: PictureSpot, x: int, y: int, cell: tuple[int, int]) -> str:
        from moco_tui.terminal import picture_codes as codes  # the first screen needs none of it

        self._used = True
        if self.protocol == "sixel":
            if not all(cell):  # of another size it would cover the text beside it
                return ""
            size = spot.columns * cell[0], spot.rows * cell[1]
            return f"\x1b[{y + 1};{x + 1}H{codes.sixel(spot.picture, spot.side, *size)}"
        number, text = self._hold(spot, cell)
        lines = codes.kitty_placeholders(number, spot.columns, spot.rows)
        for row, line in enumerate(lines, y):
            text += f"\x1b[{row + 1};{x + 1}H{line}"
        return text

    def _hold(self, spot: PictureSpot, cell: tuple[int, int]) -> tuple[int, str]:
        """The number of a picture, and what sends it to a terminal that has not got it."""
        from moco_tui.terminal import picture_codes as codes

        key = _key(spot, cell)
        number, text = self._held.pop(key, None), ""
        if number is None:
            if len(self._held) < _MOST_HELD:
                number = self._first + len(self._held)
            else:  # the one that was drawn the longest time ago
                number = self._held.pop(next(iter(self._held)))
                text = codes.kitty_delete(number)
            width, height = cell if all(cell) else (10, 20)  # the terminal fits it into its cells
            size = spot.columns * width, spot.rows * height
            data = codes.kitty_data(spot.picture, spot.side, *size)
            text += codes.kitty_upload(number, data, spot.columns, spot.rows)
        self._held[key] = number  # the dictionary is in the order in which they were drawn last
        return number, text

    def forget(self) -> str:
        """What has the terminal forget all pictures that it holds."""
        if not self._held:
            return ""
        from moco_tui.terminal.picture_codes import kitty_delete

        held, self._held = list(self._held.values()), {}
        return "".join(kitty_delete(number) for number in held)

    def farewell(self) -> str:
        """The same at the end of the app, which may have cut off a picture that was being sent."""
        # ST ends what has begun, and is nothing where nothing has (ECMA-48, 8.3.143).
        return "\x1b\\" + self.forget() if self._used else ""
