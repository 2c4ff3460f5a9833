"""Screens of a terminal, one after the other, as one SVG that moves by itself.

It holds no script and no font: styles that change visibility in steps (CSS animations, level 1), so
that it plays wherever a picture is shown. What stays from one screen to the next is drawn once.
Where nothing may move, it shows one of its screens.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar
from xml.sax.saxutils import escape

import pyte

T = TypeVar("T")

WIDTH, HEIGHT = 10, 20
"""Of a character, in the units of the picture; monospace advances by 0.6 of the font's size."""
_FONT = round(WIDTH / 0.6, 2)
_TOP, _SIDE = 34, 12  # the frame around the screen
_EIGHTHS = "▁▂▃▄▅▆▇█"
_BLOCKS = {
    **{char: (0.0, 1 - n / 8, 1.0, n / 8) for n, char in enumerate(_EIGHTHS, 1)},
    "▀": (0.0, 0.0, 1.0, 0.5),
    "▔": (0.0, 0.0, 1.0, 0.125),
    "▌": (0.0, 0.0, 0.5, 1.0),
    "▐": (0.5, 0.0, 0.5, 1.0),
    "▎": (0.0, 0.0, 0.25, 1.0),
    "▊": (0.0, 0.0, 0.75, 1.0),
}
"""Characters that are drawn as rectangles, which no font has gaps between: left, top, width and
height in parts of a cell (Unicode, block elements)."""
_BACK, _PLAIN = "#121212", "#e0e0e0"
_NAMED = {
    "black": "#000000", "red": "#cd3131", "green": "#0dbc79", "brown": "#c19c00",
    "blue": "#2472c8", "magenta": "#bc3fbc", "cyan": "#11a8cd", "white": "#e5e5e5",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A character and how it looks: colours as ``#rrggbb``."""

    text: str
    fore: str
    back: str
    bold: bool = False
    italic: bool = False
    underline: bool = False


@dataclass(frozen=True)
class Screen:
    """What is shown for a time.

    Attributes:
        rows: the cells of each row, all rows of one length.
        caption: a line below the screen.
        seconds: how long it is shown.
    """

    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    seconds: float


def cells(screen: pyte.Screen) -> tuple[tuple[Cell, ...], ...]:
    """What a terminal shows, without its cursor."""
    return tuple(
        tuple(_cell(screen.buffer[y][x]) for x in range(screen.columns))
        for y in range(screen.lines)
    )


def _cell(char: pyte.screens.Char) -> Cell:
    fore, back = _colour(char.fg, _PLAIN), _colour(char.bg, _BACK)
    if char.reverse:
        fore, back = back, fore
    # The second half of a wide character is empty.
    return Cell(char.data or " ", fore, back, char.bold, char.italics, char.underscore)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return _NAMED.get(name.removeprefix("bright"), f"#{name}")


def moving_picture(screens: Sequence[Screen], *, still: int, title: str) -> str:
    """The SVG.

    Args:
        screens: in order, at least one, all of one size.
        still: the index of the one that is shown where nothing moves.
        title: what stands in the frame, and what a reader without eyes is told.
    """
    total = sum(screen.seconds for screen in screens)
    begins = [0.0, *itertools.accumulate(screen.seconds for screen in screens)]
    shown: dict[str, list[int]] = defaultdict(list)  # drawn text: in which screens
    looks: dict[tuple[str, ...], str] = {}
    height = len(screens[0].rows)
    for index, screen in enumerate(screens):
        for y, row in enumerate(screen.rows):
            shown[_row(row, y, looks)].append(index)
        shown[_caption(screen.caption, height)].append(index)
    by_time: dict[tuple[tuple[int, int], ...], list[str]] = defaultdict(list)
    for drawn, indices in shown.items():
        if drawn:
            by_time[tuple(_spans(indices))].append(drawn)
    always = ((0, len(screens)),)
    rules, groups = [], ["\n".join(by_time.pop(always, []))]
    for number, (spans, drawn_rows) in enumerate(by_time.items()):
        kept = any(begin <= still < end for begin, end in spans)
        steps = "".join(
            f"{100 * begins[at] / total:.3f}%{{visibility:{how}}}" for at, how in _steps(spans)
        )
        rules.append(f"@keyframes k{number}{{{steps}}}")
        rules.append(
            f".k{number}{{visibility:{'visible' if kept else 'hidden'};animation-name:k{number}}}"
        )
        groups.append(f'<g class="k k{number}">' + "\n".join(drawn_rows) + "</g>")
    wide = len(screens[0].rows[0]) * WIDTH + 2 * _SIDE
    high = (height + 1) * HEIGHT + _TOP + 22
    styles = [
        f"text{{font-family:{_FAMILIES};font-size:{_FONT}px;white-space:pre}}",
        "rect{shape-rendering:crispEdges}",  # no seams where the picture is scaled
        f".k{{animation:{total:.2f}s step-end infinite}}",
        "@media (prefers-reduced-motion:reduce){.k{animation:none!important}}",
        *(f".{name}{{{';'.join(look)}}}" for look, name in looks.items()),
        *rules,
    ]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{escape(''.join(styles))}</style>",
        f'<rect width="{wide}" height="{high}" rx="9" fill="{_BACK}"/>',
        *(
            f'<circle cx="{x}" cy="17" r="6" fill="{colour}"/>'
            for x, colour in ((20, "#ff5f57"), (40, "#febc2e"), (60, "#28c840"))
        ),
        f'<text x="{wide / 2}" y="22" fill="#9a9a9a" text-anchor="middle">{escape(title)}</text>',
        f'<g transform="translate({_SIDE},{_TOP})">',
        *groups,
        "</g>\n</svg>\n",
    ])  # fmt: skip


_FAMILIES = "ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace"


def _spans(indices: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Unbroken stretches of rising numbers, each as its first and the one behind its last."""
    begin = end = -1
    for index in indices:
        if index != end:
            if begin >= 0:
                yield begin, end
            begin = index
        end = index + 1
    yield begin, end


def _steps(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    """When something appears and disappears, from the beginning on."""
    if spans[0][0] > 0:
        yield 0, "hidden"
    for begin, end in spans:
        yield begin, "visible"
        yield end, "hidden"


def _row(row: Sequence[Cell], y: int, looks: dict[tuple[str, ...], str]) -> str:
    """A row as rectangles and texts; ``looks`` names each way of drawing, and is added to."""
    drawn = []
    for back, (x, n) in _runs(row, lambda cell: cell.back):
        if back != _BACK:
            drawn.append(_rectangle(_named(looks, f"fill:{back}"), x, y, n, 1))
    for (style, block), (x, n) in _runs(row, lambda cell: (_style(cell), _block(cell))):
        look = _named(looks, *style)
        if block:
            left, top, width, height = _BLOCKS[block]
            if width == 1:
                drawn.append(_rectangle(look, x, y + top, n, height))
            else:
                drawn += [_rectangle(look, x + i + left, y, width, 1) for i in range(n)]
            continue
        text = "".join(cell.text for cell in row[x : x + n])
        for start, word in _words(text):
            drawn.append(_text(word, x + start, y, look))
    return "".join(drawn)


def _block(cell: Cell) -> str:
    return cell.text if cell.text in _BLOCKS else ""


def _rectangle(look: str, x: float, y: float, width: float, height: float) -> str:
    sides = (x * WIDTH, y * HEIGHT, width * WIDTH, height * HEIGHT)
    left, top, wide, high = (f"{side:g}" for side in sides)
    return f'<rect class="{look}" x="{left}" y="{top}" width="{wide}" height="{high}"/>'


def _caption(words: str, y: int) -> str:
    if not words:
        return ""
    baseline = y * HEIGHT + 30
    return f'<text x="4" y="{baseline}" fill="#9ecbff" font-weight="700">{escape(words)}</text>'


def _text(word: str, x: int, y: int, look: str) -> str:
    place = f'class="{look}" x="{x * WIDTH}" y="{y * HEIGHT + 15}"'
    if len(word) > 1:
        # Whatever font there is, the columns stay below each other.
        place += f' textLength="{len(word) * WIDTH}" lengthAdjust="spacingAndGlyphs"'
    return f"<text {place}>{escape(word)}</text>"


def _runs(row: Sequence[Cell], look: Callable[[Cell], T]) -> Iterator[tuple[T, tuple[int, int]]]:
    """Stretches of one look: it, the first column, and how many."""
    x = 0
    for value, group in itertools.groupby(row, look):
        n = len(list(group))
        yield value, (x, n)
        x += n


def _style(cell: Cell) -> tuple[str, ...]:
    more = [
        *(["font-weight:700"] if cell.bold else []),
        *(["font-style:italic"] if cell.italic else []),
        *(["text-decoration:underline"] if cell.underline else []),
    ]
    return (f"fill:{cell.fore}", *more)


def _words(text: str) -> Iterator[tuple[int, str]]:
    """The parts of a text that two blanks or more stand between, each with its column."""
    at = 0
    for part in text.split("  "):
        if part.strip():
            lead = len(part) - len(part.lstrip())
            yield at + lead, part.strip()
        at += len(part) + 2


def _named(looks: dict[tuple[str, ...], str], *look: str) -> str:
    return looks.setdefault(look, f"s{len(looks)}")
