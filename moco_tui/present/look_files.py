"""The files of a look: maps, neighbours and confusion matrices for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from engine.errors import RunError
from engine.files import replace_file, unwritable
from engine.runs.encoder_look import EncoderView, Look
from engine.text import csv_cell
from moco_tui.present.look_text import confusion_rows
from moco_tui.present.map_svg import PlaneMap, svg


def check_target(folder: Path) -> None:
    """Makes the folder of the files, before anything is computed.

    Raises:
        RunError: when it cannot be made or written, or holds files already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".moco-tui"
        if any(folder.iterdir()):
            raise RunError(f"{folder} holds files already; name a new or empty folder.")
        replace_file(probe, b"", follow_folder=True)
        probe.unlink()
    except OSError as error:
        raise unwritable(folder, error) from error


def files_of(look: Look, maps: Mapping[str, Sequence[PlaneMap]], tables: str) -> dict[str, str]:
    """The files by their names.

    Args:
        look: what was found.
        maps: of each encoder by its label.
        tables: as printed.
    """
    files = {"tables.txt": tables.rstrip("\n") + "\n"}
    for view in look.encoders:
        name = view.label.replace(" ", "-")
        for plane in maps.get(view.label, ()):
            kind = plane.kind.lower().replace("-", "")
            files[f"map-{kind}-{name}.csv"] = map_csv(look, plane)
            files[f"map-{kind}-{name}.svg"] = svg(look, view, plane)
        files[f"neighbours-{name}.csv"] = neighbours_csv(look, view)
        files[f"confusion-{name}.csv"] = confusion_csv(look, view)
    return files


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes each file whole or not at all.

    Raises:
        RunError: when one cannot be written.
    """
    for name, text in files.items():
        try:
            replace_file(folder / name, text.encode(), follow_folder=True)
        except OSError as error:
            raise unwritable(folder / name, error) from error


def map_csv(look: Look, plane: PlaneMap) -> str:
    """Columns image, label, class, x, y; ``image`` is the number in the part of the data set."""
    return _csv(
        ["image", "label", "class", "x", "y"],
        (
            [row, label, look.class_names[label], repr(x), repr(y)]
            for row, label, (x, y) in zip(look.rows, look.labels, plane.points, strict=True)
        ),
    )


def neighbours_csv(look: Look, view: EncoderView) -> str:
    """Columns image, class, rank, neighbour, neighbour_class, similarity, same_class."""

    def rows() -> Iterable[list[object]]:
        for image, row in enumerate(look.rows):
            label = look.labels[image]
            pairs = zip(view.neighbours[image], view.similarity[image], strict=True)
            for rank, (other, similarity) in enumerate(pairs, 1):
                found = look.labels[other]
                names = look.class_names[label], look.class_names[found]
                same = int(found == label)
                # 9 digits are every float32 (IEEE 754, section 5.12.2)
                digits = f"{similarity:.9g}"
                yield [row, names[0], rank, look.rows[other], names[1], digits, same]

    head = ["image", "class", "rank", "neighbour", "neighbour_class", "similarity", "same_class"]
    return _csv(head, rows())


def confusion_csv(look: Look, view: EncoderView) -> str:
    """Counts: a row for each class, a column for each that was voted for."""
    head, rows = confusion_rows(look, view)
    return _csv(head, rows)


def _csv(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(csv_cell, head))
    writer.writerows(map(csv_cell, row) for row in rows)
    return out.getvalue()
