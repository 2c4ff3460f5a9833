"""The pictures of a look: an image with the neighbours that each encoder finds, a cell's images."""

from __future__ import annotations

from engine.runs.encoder_look import EncoderView, Look
from moco_tui.present import fmt
from moco_tui.present.look_text import (
    confused_images,
    name_of,
    neighbour_text,
    shares_text,
    view_text,
)
from moco_tui.widgets.picture_shelves import Shelf, Tile

_NEIGHBOURS = 30  # of those that are known


def neighbour_shelves(look: Look, image: int) -> list[Shelf]:
    """For each encoder the nearest others of an image, with the shares over all images."""
    shelves = []
    for view in look.encoders:
        tiles = []
        for place, other in enumerate(view.neighbours[image][:_NEIGHBOURS]):
            right = look.labels[other] == look.labels[image]
            tiles.append(Tile(other, neighbour_text(look, view, image, place), right))
        shelves.append(Shelf(f"{view_text(view)} · alike at {shares_text(view)}", tiles))
    return shelves


def image_lines(look: Look, image: int) -> list[str]:
    """What stands beside an image: its class, and what each encoder's neighbours vote for."""
    lines = [name_of(look, look.labels[image])]
    for view in look.encoders:
        found = view.predicted[image]
        sign = "✓" if found == look.labels[image] else "✗"
        same = sum(look.labels[o] == look.labels[image] for o in view.neighbours[image][:10])
        lines.append(f"{sign} {view_text(view)}: {name_of(look, found)}, {same} of 10 alike")
    return lines


def cell_shelf(look: Look, view: EncoderView, truth: int, taken: int) -> Shelf:
    """The images of a cell of the confusion matrix."""
    images = confused_images(look, view, truth, taken)
    tiles = [
        Tile(image, f"{'✓' if truth == taken else '✗'} {fmt.count(look.rows[image])}")
        for image in images
    ]
    return Shelf("Enter goes to the image at the cursor", tiles)
