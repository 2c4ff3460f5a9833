"""What the terminal can show: characters beyond ASCII or not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

# Terminals whose fonts lack Braille and most of the shapes below: real ones, and the consoles of
# Linux (whose fonts hold 512 glyphs at most, setfont(8)) and FreeBSD.
_PLAIN_TERMS = ("linux", "vt100", "vt102", "vt220", "ansi", "dumb", "cons25")

# Every replacement is one character, as wide as what it replaces, so that no column moves.
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
        "‹": "<",
        "›": ">",
    }
)


def ascii_only(environ: Mapping[str, str] | None = None) -> bool:
    """Whether to keep to ASCII: a bare terminal, or a locale that says another encoding.

    ``MOCO_TUI_ASCII`` set to 1 or 0 decides it. An unset locale counts as UTF-8, as in most
    containers.

    Args:
        environ: environment variables; None: those of this process.
    """
    environ = os.environ if environ is None else environ
    choice = environ.get("MOCO_TUI_ASCII", "").strip().lower()
    if choice:
        return choice not in ("0", "no", "off", "false")
    if environ.get("TERM", "") in _PLAIN_TERMS:
        return True
    # The first that is set counts (POSIX.1-2017, 8.2 Internationalization Variables).
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        locale = environ.get(name, "")
        if locale:
            return "utf" not in locale.lower()
    return False


def cannot_draw(environ: Mapping[str, str] | None = None) -> str:
    """Why the app cannot be drawn on this kind of terminal, as a sentence; empty when it can.

    A name that this machine's database lacks is no reason: new terminals are missing in it, above
    all on a machine that is reached over the network, and they take the sequences of an xterm.

    Args:
        environ: environment variables; None: those of this process.
    """
    name = (os.environ if environ is None else environ).get("TERM", "")
    says = f"TERM is {name}" if name else "TERM is not set"
    if name not in ("", "dumb", "unknown") and _places_the_cursor(name):
        return ""
    return (
        f"The app needs a terminal that can place its cursor, and {says}; set it to what the "
        "terminal is (often xterm-256color), or use a command (moco-tui --help lists them)."
    )


def _places_the_cursor(name: str) -> bool:
    """Whether a terminal has ``cup``; True where the database of terminals does not know it."""
    try:
        import curses
    except ImportError:  # a Python that was built without it
        return True
    with open(os.devnull, "w", encoding="ascii") as nowhere:  # noqa: PTH123 - a device, no file
        try:
            curses.setupterm(name, nowhere.fileno())
        except curses.error:
            return True
    return bool(curses.tigetstr("cup"))


@lru_cache(4096)  # every piece of every painted line passes here, and most of them repeat
def to_ascii(text: str) -> str:
    """The text with every character beyond ASCII replaced, in as many cells."""
    if text.isascii():
        return text
    text = text.translate(_TABLE)
    if text.isascii():
        return text
    return "".join(_replacement(character) for character in text)


def _replacement(character: str) -> str:
    """What stands for a character that the table does not have."""
    code = ord(character)
    if code < 0x80:
        return character
    if 0x2800 <= code < 0x2900:  # Braille, in which curves are drawn
        # One bit for each of 2 x 4 dots. Bits 0, 1, 3, 4 are the two upper rows, 2, 5, 6, 7 the
        # two lower ones (Unicode chart U+2800).
        bits = code - 0x2800
        upper, lower = bits & 0b00011011, bits & 0b11100100
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    return "?" * cell_len(character)  # an ideogram takes two cells, a combining mark none


class AsciiFilter(LineFilter):
    """Turns every line of the app into ASCII just before it is written."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments with their texts in ASCII."""
        return [
            # A control segment holds escape sequences, which are passed on as they are.
            Segment(text if control else to_ascii(text), style, control)
            for text, style, control in segments
        ]
