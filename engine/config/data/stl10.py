"""STL-10: its classes and tasks."""

from __future__ import annotations

from engine.config.data.data_set import DataSetPart, each_class

# In the order of the labels 1 to 10 in the files of STL-10, which is alphabetical.
CLASSES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)

PART = DataSetPart(
    name="stl10",
    summary="113,000 photographs of 96x96 pixels, 13,000 of them with labels, downloaded once",
    work="engine.data.stl10:load",
    title="STL-10",
    class_names=CLASSES,
    train_labels=5_000,
    tasks={
        "binary": {
            "vehicles": ("airplane", "car", "ship", "truck"),
            "animals": ("bird", "cat", "deer", "dog", "horse", "monkey"),
        },
        "five": each_class(CLASSES[:5]),
    },
    sample="engine.data.stl10:sample",
    image_size=96,
    decodes=True,
)
