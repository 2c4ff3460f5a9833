"""Numbers, times and texts of others as screens and commands show them."""

from __future__ import annotations

import json
import math

from rich.cells import cell_len, chop_cells, set_cell_size

from engine.config.phrases import span_words
from engine.text import one_line

clean = one_line


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly ``width`` cells: padded, or cut with a trailing ellipsis."""
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        # A wide character that would be cut in two becomes a space: the width stays exact.
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def middle(text: str, width: int) -> str:
    """The text in at most ``width`` cells: what is too long is cut in the middle.

    Names and paths that begin alike are told apart by their ends.
    """
    if cell_len(text) <= width or width < 3:
        return text if cell_len(text) <= width else fit(text, width)
    behind = (width - 1) // 2
    tail = ""
    for character in reversed(text):
        if cell_len(character + tail) > behind:
            break
        tail = character + tail
    return fit(text, width - cell_len(tail)) + tail


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` cells, broken at spaces where there are some.

    A wide character is put into a line of one cell all the same.
    """
    lines: list[str] = []
    while cell_len(text) > width:
        piece = chop_cells(text[: 2 * width + 2], max(width, 1))[0] or text[:1]
        if text[len(piece) : len(piece) + 1] != " ":
            piece = piece[: piece.rfind(" ") + 1] or piece
        lines.append(piece.rstrip())
        text = text[len(piece) :].lstrip()
    return [*lines, text] if text or not lines else lines


def number(value: float | None, digits: int = 4) -> str:
    """A measured value with so many significant digits; a dash when there is none.

    Of 10^6 and above, and below 10^-4, in scientific notation with two digits less.
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size and (size >= 10**6 or size < 1e-4):
        return f"{value:.{max(digits - 2, 1)}e}".replace("e-0", "e-").replace("e+0", "e")
    whole = math.floor(math.log10(size)) + 1 if size else 1  # digits before the point; 0.05: -1
    return f"{value:.{max(digits - max(whole, -2), 0)}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as per cent."""
    if share is None or not math.isfinite(share):
        return "–"
    return f"{100 * share:.{digits}f} %"


def label_fraction(share: float | None) -> str:
    """A share of the labels, with as many digits as tell small ones apart: ``10 %``, ``12.5 %``."""
    return "–" if share is None else f"{100 * share:.3g} %"


def accuracy(value: float | None, digits: int = 1) -> str:
    """An accuracy, which the engine gives in per cent."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f} %"


def count(value: int | float) -> str:
    """A whole number with separators, short from ten million on."""
    if value >= 10_000_000:
        return f"{value / 1e6:,.1f}M"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """A time span: ``8 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "–"
    whole = round(seconds)
    return f"{seconds:.1f} s" if whole < 10 and seconds != whole else span_words(whole)


def age(seconds: float | None) -> str:
    """How long ago, short: ``now``, ``42 s``, ``5 min``, ``3 h``, ``12 d``."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    seconds = max(seconds, 0)  # the clock of the machine that wrote the time may be ahead
    for limit, unit, name in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return "now" if seconds < 2 else f"{int(seconds / unit)} {name}"
    return f"{int(seconds / 86_400)} d"


def ago(seconds: float | None) -> str:
    """How long ago, as it stands in a sentence: ``now``, ``42 s ago``."""
    text = age(seconds)
    return text if text in ("now", "–") else f"{text} ago"


def bar(full: int, cells: int, *, ascii_only: bool) -> str:
    """A bar of so many cells, of which the first are full."""
    on, off = ("#", ".") if ascii_only else ("━", "─")
    return on * full + off * (cells - full)


def bar_cells(width: int, text: str) -> int:
    """Cells for a bar in a line of ``width`` cells that also holds `` 100 %  `` and a text.

    From 0 to 60, and one cell of the line stays free.
    """
    return max(min(width - len(text) - 9, 60), 0)


def size(amount: float | None) -> str:
    """Bytes in binary units."""
    if amount is None:
        return "–"
    for unit in ("B", "KiB", "MiB"):
        # As it is shown: 1023.7 would read 1024.
        if round(abs(amount)) < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    if round(abs(amount), 1) < 1024:
        return f"{amount:.1f} GiB"
    return f"{amount / 1024:.1f} TiB"


def measured(item: object) -> float | None:
    """A number out of a record; None for anything else that may stand there."""
    return float(item) if isinstance(item, int | float) and not isinstance(item, bool) else None


def _quoted(text: object) -> str:
    """A text as TOML (whose basic strings are those of JSON)."""
    return json.dumps(str(text), ensure_ascii=False)


def _in_table(item: object) -> str:
    """A value within a table, where texts need their quotes."""
    if isinstance(item, (list, tuple)):
        return f"[{', '.join(map(_in_table, item))}]"
    return _quoted(item) if isinstance(item, str) else value(item)


def value(item: object) -> str:
    """A configuration value as a person would type it."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        # 0.1, not 0.100000; all digits where six are not enough to read the same value back.
        return f"{item:.6g}" if float(f"{item:.6g}") == item else repr(item)
    if isinstance(item, (list, tuple)):
        return ", ".join(value(part) for part in item)
    if isinstance(item, dict):
        parts = (f"{_quoted(name)} = {_in_table(part)}" for name, part in item.items())
        return "{" + ", ".join(parts) + "}"
    return str(item)
