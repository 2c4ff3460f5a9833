"""SVHN, the street view house numbers: its classes and tasks."""

from __future__ import annotations

from engine.config.data.data_set import DataSetPart, each_class

CLASSES = tuple("0123456789")

TASKS = {
    "binary": {"even": tuple("02468"), "odd": tuple("13579")},
    "five": each_class(CLASSES[:5]),
}

PART = DataSetPart(
    name="svhn",
    summary="99,289 digits of house numbers, downloaded once",
    work="engine.data.svhn:load",
    title="SVHN",
    class_names=CLASSES,
    train_labels=73_257,
    tasks=TASKS,
    sample="engine.data.svhn:sample",
    decodes=True,
)
