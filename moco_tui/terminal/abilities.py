"""What the terminal can show: characters beyond ASCII or not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_PLAIN_TERMS = ("linux", "vt100", "vt102", "vt220", "ansi", "dumb", "cons25")

_TABLE = str.maketrans(
    {
        **dict.fromkeys("─━═╌╍┄┅┈┉╴╶╸╺▔▁", "-"),
        **dict.fromkeys("│┃║╎╏┆┇┊┋▏▕▎▊▌▐╵╷╹╻", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬╭╮╰╯┍┑┕┙┎┒┖┚╞╡┠┨┯┷┿╪", "+"),
        **dict.fromkeys("●■◆▮█▇▆▅▉▋▍", "#"),
        **dict.fromkeys("○□◇▯", "o"),
        **dict.fromkeys("▄▂▃", "_"),
        **dict.fromkeys("▀", '"'),
        **dict.fromkeys("░", ":"),
        **dict.fromkeys("▒▓", "%"),
        **dict.fromkeys("▸▶►❯→⟶➤", ">"),
        **dict.fromkeys("◂◀◄←", "<"),
        **dict.fromkeys("▾▼↓▽", "v"),
        **dict.fromkeys("▴▲↑△", "^"),
        **dict.fromkeys("✓✔", "*"),
        **dict.fromkeys("✗✘×✕", "x"),
        **dict.fromkeys("‖", "="),
        **dict.fromkeys("–—−‐", "-"),
        **dict.fromkeys("…·•⋮", "."),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("±", "+"),
        "\u00a0": " ",
        "⭘": "o",
        "°": "d",
        "²": "2",
    }
)


def ascii_only(environ: Mapping[str, str] | None = None) -> bool:
    """Whether to keep to ASCII: a bare terminal, or a locale that says another encoding.

    ``MOCO_TUI_ASCII`` set to 1 or 0 decides it. An unset locale counts as UTF-8, as in most
    containers.
    """
    environ = os.environ if environ is None else environ
    said = environ.get("MOCO_TUI_ASCII", "").strip().lower()
    if said:
        return said not in ("0", "no", "off", "false")
    if environ.get("TERM", "") in _PLAIN_TERMS:
        return True
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        locale = environ.get(name, "")
        if locale:
            return "utf" not in locale.lower()
    return False


@lru_cache(4096)
def to_ascii(text: str) -> str:
    """The text with every character beyond ASCII replaced, in as many cells."""
    if text.isascii():
        return text
    text = text.translate(_TABLE)
    if text.isascii():
        return text
    return "".join(_one(character) for character in text)


def _one(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return character
    if (
        0x2800 <= code < 0x2900
    ):  # Braille, in which curves are drawn: one bit for each of 2 x 4 dots
        bits = code - 0x2800
        upper, lower = bits & 0b00011011, bits & 0b11100100
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    return "?" * cell_len(character)


class AsciiFilter(LineFilter):
    """Turns every line of the app into ASCII just before it is written."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with their texts in ASCII."""
        return [
            Segment(to_ascii(text), style, control)
            if not control
            else Segment(text, style, control)
            for text, style, control in segments
        ]
