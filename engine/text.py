"""Text from people, files and other programs as one line without control sequences."""

from __future__ import annotations

import re
import unicodedata

# Marks that change the direction of the text around them; they can make a name look like another.
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")
_LINE_ENDS = frozenset("\n\r\t\v\f\x85\u2028\u2029")
# CSI sequences, OSC sequences and two-character escapes (ECMA-48, sections 5.4 and 5.6).
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\-_])")
_SHOWN = 40  # characters of a person's text that a message repeats
# What a terminal obeys, or cannot be printed: control characters of both sets (ECMA-48, section 5),
# the two line ends of Unicode, marks of direction, lone surrogates.
_UNPLAIN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf(inity)?|nan)", re.IGNORECASE)
_FORMULA = frozenset(
    "=+-@\uff1d\uff0b\uff0d\uff20"
)  # the wide ones as well: spreadsheets take them


def clean_text(text: str, limit: int = 200) -> str:
    """Text of a person in one line: no control characters, at most ``limit`` characters.

    Line ends and tabs become spaces; control characters, lone surrogates and marks that turn the
    direction of writing are dropped; everything else (brackets, emoji) stays as it was given.
    """
    # Line ends are control characters (Cc) as well: dropped, they would join two words.
    spaced = "".join(" " if c in _LINE_ENDS else c for c in text)
    # Cs are lone surrogates, from undecodable bytes in file names (PEP 383): print would raise.
    kept = (c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs") and c not in _BIDI)
    return "".join(kept).strip()[:limit].rstrip()  # the cut may end in a space of its own


def one_line(text: str) -> str:
    """A text of others as screens and commands show it: one line that no terminal obeys.

    Line ends, tabs and every other white space become a space each. What cannot be seen otherwise
    becomes a question mark: control characters, marks of zero width or of the direction of writing,
    lone surrogates, and characters without a known width. So a name that holds such a character
    looks like one that does.
    """
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)


def plain_text(text: str, limit: int) -> str:
    """A text that a file brought, as it is kept in memory: nothing in it that a terminal obeys.

    Less is replaced than by ``one_line``, since the text may be a path or the name of a class that
    is looked up: spaces of other widths and joined emoji stay.

    Args:
        text: of the file.
        limit: characters that are kept.
    """
    if len(text) > limit:
        text = text[:limit]
    if text.isprintable():  # nearly always
        return text
    return _UNPLAIN.sub(lambda found: " " if found[0] in _LINE_ENDS else "?", text)


def is_plain(text: str) -> bool:
    """Whether ``plain_text`` leaves a text of any length as it is."""
    return text.isprintable() or _UNPLAIN.search(text) is None


def clean_lines(text: str) -> str:
    """A text of several lines that no terminal obeys: ``one_line`` of each of them."""
    if text.isprintable():
        return text
    return "\n".join(map(one_line, text.split("\n")))


def printable_json(document: str) -> str:
    """A JSON document that no terminal obeys, and that means the same.

    What cannot be seen is written as ``\\u`` and its number (RFC 8259, section 7); it can stand
    within texts alone. Line ends between the values stay.
    """
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in document)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")  # two for those above U+FFFF
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def csv_cell(value: object) -> object:
    """A value for a cell of CSV that no spreadsheet takes for a formula.

    A text is put on one line, and gets an apostrophe where it begins as a formula does and is no
    number. Everything else (numbers, None) comes back as it is.
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    begins = text.lstrip()[:1]
    return f"'{text}" if begins in _FORMULA and not _NUMBER.fullmatch(text.strip()) else text


def shorten(text: str) -> str:
    """Text of a person as a message repeats it: one line of at most 40 characters."""
    text = clean_text(text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def visible_line(line: str) -> str:
    """What a terminal would show in the end of a line that a program printed.

    Escape sequences are dropped, other unprintable characters become spaces. Of a line that was
    overwritten after carriage returns, as progress bars do, only the last state is left.
    """
    # "\r\n" ends a line without overwriting it, hence rstrip before the last "\r" is looked for.
    shown = _ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2]
    return "".join(c if c.isprintable() else " " for c in shown).rstrip()
