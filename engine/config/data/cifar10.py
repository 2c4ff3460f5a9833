"""CIFAR-10: its classes and tasks."""

from __future__ import annotations

from engine.config.data.data_set import DataSetPart, each_class

# In the order of the labels 0 to 9 in the files of CIFAR-10, which is alphabetical.
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

PART = DataSetPart(
    name="cifar10",
    summary="60,000 photographs of ten classes, downloaded once",
    work="engine.data.cifar10:load",
    title="CIFAR-10",
    class_names=CLASSES,
    train_labels=50_000,
    tasks={
        "binary": {
            "vehicles": ("airplane", "automobile", "ship", "truck"),
            "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
        },
        "five": each_class(CLASSES[:5]),
    },
    sample="engine.data.cifar10:sample",
)
