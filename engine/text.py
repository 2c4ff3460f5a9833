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
