"""What commands print: facts as JSON, text in columns, narration on stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.runs.record import spell
from engine.text import clean_lines, one_line, printable_json

if TYPE_CHECKING:
    from engine.history.history import History


clean = one_line


def say(text: str) -> None:
    """Prints a line on stderr, so that stdout holds nothing but the data asked for."""
    print(clean_lines(text), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Prints lines on stdout; what a terminal would obey in them is replaced.

    Whoever puts texts of others into columns cleans them before that, for the widths and since a
    line end in them is no line end of the table. This is for what was forgotten.
    """
    print(clean_lines(text))


def say_notices(history: History) -> None:
    """Prints the notices on the state of the index on stderr, each of them once."""
    for line in history.notices:
        say(clean(line))
    history.notices.clear()


def confirmed(question: str) -> bool:
    """Asks on a terminal; False without one, where nobody answers."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    import click  # what only prints needs none of it

    return click.confirm(question, err=True)


def print_json(facts: Any, *, indent: int | None = 2) -> None:
    """Facts on stdout, as JSON that any reader takes (no NaN literals); one line without indent."""
    print(printable_json(json.dumps(_finite(facts), indent=indent, ensure_ascii=False)))


def _finite(value: Any) -> Any:
    # json writes NaN and Infinity as literals that are no JSON (RFC 8259, section 6).
    if isinstance(value, float):
        return spell(value)
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Plain text columns; the columns numbered in ``right`` are aligned to the right."""
    cells = [[clean(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width_of(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        parts = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - width_of(cell))
            parts.append(space + cell if i in right else cell + space)
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def width_of(text: str) -> int:
    """Columns of the terminal that a text takes; an ideogram or an emoji takes two."""
    if text.isascii():
        return len(text)
    # Imported for such texts alone: it would add to the start of every command.
    from rich.cells import cell_len

    return cell_len(text)


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` columns, the last of them ``~`` when something is missing."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, used = [], 0
    for character in text:
        used += width_of(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "~"


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None for a file or a pipe, where nothing is cut.

    An exported COLUMNS goes before what the terminal says (``shutil.get_terminal_size``), as with
    other programs that print tables; the app takes the terminal's size alone.
    """
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
