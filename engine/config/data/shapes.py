"""The embedded images of shapes: their classes and tasks."""

from __future__ import annotations

from engine.config.data.data_set import DataSetPart, each_class

CLASSES = (
    "bars",
    "clover",
    "crescent",
    "cross",
    "disc",
    "dots",
    "ring",
    "square",
    "star",
    "triangle",
)

PART = DataSetPart(
    name="shapes",
    summary="12,000 drawn images of ten shapes",
    work="engine.data.shapes:load",
    title="shapes",
    note="embedded, no download",
    class_names=CLASSES,
    tasks={
        "binary": {
            "round": ("clover", "crescent", "disc", "dots", "ring"),
            "straight": ("bars", "cross", "square", "star", "triangle"),
        },
        "five": each_class(CLASSES[:5]),
    },
    sample="engine.data.shapes:sample",
)
