"""The data sets: one line each, for the module of its facts here and of its images above.

``NAME.py`` in this package holds the name, classes and tasks of a data set as its ``PART``;
``engine/data/NAME.py`` reads, downloads or draws the images.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from engine.config.data.data_set import DataSetPart, Groups
from engine.config.registry import Registry

_MODULES = (
    "cifar10",
    "shapes",
    "image_folder",
)

DATA_SETS: Registry[DataSetPart] = Registry(
    "data.source", tuple(import_module(f"{__name__}.{module}").PART for module in _MODULES)
)
"""What ``data.source`` may name, in the order in which it is offered."""


def sources_in_words(*, notes: bool = True) -> str:
    """What ``data.source`` may be: "cifar10, shapes (embedded, no download) or folder:PATH"."""
    *others, last = (
        f"{part.spelling} ({part.note})" if part.note and notes else part.spelling
        for part in DATA_SETS.values()
    )
    return f"{', '.join(others)} or {last}"


def source_suggestions() -> list[str]:
    """What may be offered for completion in a field for ``data.source``."""
    return [
        f"{part.name}:/" if part.argument == "PATH" else part.name for part in DATA_SETS.values()
    ]


def source_path(source: str) -> str | None:
    """The path in a source such as ``folder:PATH``; None for a source without one."""
    part, argument = DATA_SETS.find(source)
    return argument if part is not None and part.argument == "PATH" else None


def absolute_source(source: str) -> str:
    """The source with its path, where it has one, made absolute: runs outlive a working directory.

    Raises:
        RuntimeError: for the home directory of nobody.
    """
    path = source_path(source)
    if path is None:
        return source
    return f"{source.partition(':')[0]}:{Path(path).expanduser().absolute()}"


def with_tasks() -> Iterator[DataSetPart]:
    """The data sets that have tasks of their own."""
    return (part for part in DATA_SETS.values() if part.tasks)


def task_groups(task: str, class_names: tuple[str, ...]) -> Groups | None:
    """The groups that a task has on these classes, in whatever order they come.

    Returns:
        None where no data set of these classes has such a task.
    """
    for part in with_tasks():
        if set(class_names) == set(part.class_names) and task in part.tasks:
            return part.tasks[task]
    return None
