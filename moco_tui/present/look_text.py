"""What a look found, in words and rows: shares, confusions, the classes hardest to tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from engine.runs.encoder_look import AT, EncoderView, Look
from moco_tui.present import fmt
from moco_tui.present.lines import Line

CLASS_MARKS = "●■▲◆○□△◇▼★"
"""Of the first classes; letters stand for those behind them."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PARTS = {"test": "test images", "withheld": "withheld training images"}


def class_mark(number: int, *, ascii_only: bool = False) -> str:
    """One character that stands for a class beside its colour."""
    if not ascii_only:
        if number < len(CLASS_MARKS):
            return CLASS_MARKS[number]
        number -= len(CLASS_MARKS)
    return _LETTERS[number % len(_LETTERS)]


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another.

    Attributes:
        truth, taken: the two classes.
        count: how many images.
        share: of the images of the class, in [0, 1].
    """

    truth: int
    taken: int
    count: int
    share: float


def confusions(view: EncoderView) -> list[Confusion]:
    """All that were taken for another class, the largest share first."""
    found = []
    for truth, row in enumerate(view.confusion):
        total = sum(row)
        found += [
            Confusion(truth, taken, count, count / total)
            for taken, count in enumerate(row)
            if count and taken != truth
        ]
    return sorted(found, key=lambda one: (-one.share, one.truth, one.taken))


def confused_images(look: Look, view: EncoderView, truth: int, taken: int) -> list[int]:
    """The images of a class that were taken for another, or rightly for their own."""
    pairs = zip(look.labels, view.predicted, strict=True)
    return [i for i, (label, found) in enumerate(pairs) if (label, found) == (truth, taken)]


def name_of(look: Look, number: int) -> str:
    """The name of a class."""
    return fmt.clean(look.class_names[number])


def images_text(look: Look) -> str:
    """Which images: ``2,000 of 10,000 test images of cifar10``."""
    count = fmt.count(len(look.rows))
    of = "" if len(look.rows) == look.whole else f" of {fmt.count(look.whole)}"
    return f"{count}{of} {PARTS[look.part]} of {fmt.clean(look.data)}"


def view_text(view: EncoderView, *, others: bool = True) -> str:
    """An encoder in a few words: its run, the epoch.

    Args:
        view: of it.
        others: other encoders are shown beside it, so that its id is needed.
    """
    title = fmt.clean(view.title)
    name = view.label if title in ("", view.label) or others else f"{title} ({view.label})"
    known = view.label.endswith(" untrained") or view.label.rpartition("@")[2].isdecimal()
    return name if known or view.epoch is None else f"{name}, epoch {view.epoch:.4g}"


def shares_text(view: EncoderView) -> str:
    """The shares of neighbours of the same class: ``1: 58 %  10: 52 %  100: 41 %``."""
    return "  ".join(f"{n}: {fmt.percent(view.shares.get(n))}" for n in AT)


def share_rows(look: Look) -> tuple[list[str], list[list[str]]]:
    """The shares as a table: its head, and a row for each encoder."""
    head = ["encoder", *(f"same class at {n}" for n in AT), "kNN of 20"]
    rows = [
        [
            view_text(view),
            *(fmt.percent(view.shares.get(n)) for n in AT),
            fmt.percent(view.accuracy),
        ]
        for view in look.encoders
    ]
    return head, rows


def confusion_rows(look: Look, view: EncoderView) -> tuple[list[str], list[list[str]]]:
    """The confusion matrix as a table of counts: its head, and a row for each class."""
    names = [name_of(look, number) for number in range(len(look.class_names))]
    rows = [[name, *map(str, row)] for name, row in zip(names, view.confusion, strict=True)]
    return ["class \\ taken for", *names], rows


def confusion_text(look: Look, one: Confusion) -> str:
    """A confusion in words: ``cat -> dog 21 % (42)``."""
    truth, taken = name_of(look, one.truth), name_of(look, one.taken)
    return f"{truth} -> {taken} {fmt.percent(one.share, 0)} ({one.count})"


def hardest_text(look: Look, view: EncoderView, most: int = 6) -> str:
    """The classes that are hardest to tell apart, in one line."""
    found = confusions(view)[:most]
    if not found:
        return "no image was taken for one of another class"
    return ", ".join(confusion_text(look, one) for one in found)


def neighbour_text(look: Look, view: EncoderView, image: int, place: int) -> str:
    """A neighbour in words: whether it is of the same class, its class, its similarity."""
    other = view.neighbours[image][place]
    right = look.labels[other] == look.labels[image]
    sign = "✓" if right else "✗"
    cosine = f"{view.similarity[image][place]:.2f}".replace("0.", ".", 1)
    return f"{sign} {cosine} {name_of(look, look.labels[other])}"


def word_lines(look: Look) -> list[Line]:
    """The panel of words: shares of every encoder side by side, and what it confuses."""
    lines: list[Line] = [[("neighbours of the same class, of the nearest", "muted")]]
    lines.append([(fmt.fit("", 24), ""), *((fmt.fit(str(n), 9, right=True), "") for n in AT)])
    for view in look.encoders:
        cells = [(fmt.fit(fmt.percent(view.shares.get(n)), 9, right=True), "") for n in AT]
        lines.append([(fmt.fit(view_text(view), 24), "strong"), *cells])
    for view in look.encoders:
        votes = f"  {fmt.percent(view.accuracy)} right by 20 votes; confused most"
        lines += [[("", "")], [(view_text(view), "strong"), (votes, "muted")]]
        found = confusions(view)[:8]
        lines += [[(confusion_text(look, one), "")] for one in found]
        lines += [] if found else [[("no image was taken for one of another class", "")]]
    lines += [
        [("", "")],
        [("neighbours are among these images, each left out of its own", "muted")],
    ]
    lines += [[(fmt.clean(text), "muted")] for text in look.notices]
    return lines


def facts(look: Look) -> dict[str, Any]:
    """The tables as builtin values."""
    return {
        "data": look.data,
        "images": look.part,
        "count": len(look.rows),
        "of": look.whole,
        "classes": look.class_names,
        "encoders": [
            {
                "encoder": view.label,
                "name": view.title,
                "epoch": view.epoch,
                "same_class": {str(n): view.shares.get(n) for n in AT},
                "knn_top1": 100 * view.accuracy,
                "confusion": view.confusion,
                "confused_most": [
                    {
                        "class": look.class_names[one.truth],
                        "taken_for": look.class_names[one.taken],
                        "count": one.count,
                        "share": one.share,
                    }
                    for one in confusions(view)[:10]
                ],
                "pca_explained": list(view.explained),
            }
            for view in look.encoders
        ],
        "notices": look.notices,
    }


def tables(look: Look) -> str:
    """Everything as printed: the images, the shares, and of each encoder what it confuses."""
    parts = [images_text(look), _table(*share_rows(look))]
    for view in look.encoders:
        matrix = _table(*confusion_rows(look, view))
        parts.append(f"{view_text(view)}: what the 20 nearest vote for\n{matrix}")
        parts.append(f"hardest to tell apart: {hardest_text(look, view)}")
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text; all but the first stand at the right."""
    cells = [[fmt.clean(cell) for cell in row] for row in (head, *rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            fmt.fit(cell, width, right=i > 0)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
