"""Imagenette: its classes and tasks."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.data.data_set import DataSetPart, each_class

BY_FOLDER: Mapping[str, str] = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""The class in each folder, which is called by a number of WordNet."""

CLASSES = tuple(sorted(BY_FOLDER.values()))

PART = DataSetPart(
    name="imagenette",
    summary="13,394 photographs of ten classes of ImageNet, 160 pixels high, downloaded once",
    work="engine.data.imagenette:load",
    title="Imagenette",
    class_names=CLASSES,
    train_labels=9_469,
    tasks={
        "binary": {
            "animals": ("English springer", "tench"),
            "things": tuple(n for n in CLASSES if n not in ("English springer", "tench")),
        },
        "five": each_class(CLASSES[:5]),
    },
    sample="engine.data.imagenette:sample",
    image_size=160,
    decodes=True,
    folder="engine.data.imagenette:folder",
)
