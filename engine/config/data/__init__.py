"""The registry of data sets: one line each, for two modules of one name.

``NAME.py`` in this package holds the name, classes and tasks of a data set as its ``PART``;
``engine/data/NAME.py`` reads, downloads or draws the images.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from engine.config.data.data_set import SIZE, DataSetPart, Groups
from engine.config.phrases import listed
from engine.config.registry import Registry

_MODULES = (
    "cifar10",
    "cifar100",
    "stl10",
    "svhn",
    "svhn_extra",
    "imagenette",
    "shapes",
    "image_folder",
)

DATA_SETS: Registry[DataSetPart] = Registry(
    "data.source", tuple(import_module(f"{__name__}.{module}").PART for module in _MODULES)
)
"""What ``data.source`` may name, in the order in which it is offered."""


class _OtherData(Registry[DataSetPart]):
    """The data sets that a probe may be on; empty: that of the pretraining."""

    def accepts(self, value: object) -> bool:
        """See ``Registry.accepts``."""
        return value == "" or super().accepts(value)

    def expectation(self) -> str:
        """See ``Registry.expectation``."""
        return f"{super().expectation()}; or empty, for the images of the pretraining"


PROBE_DATA_SETS = _OtherData("data.source", tuple(DATA_SETS.values()))
"""What ``data.source`` of a probe may name."""


def sources_in_words(*, notes: bool = True) -> str:
    """What ``data.source`` may be: "cifar10, shapes (embedded, no download) or folder:PATH"."""
    spelled = [
        f"{part.spelling} ({part.note})" if part.note and notes else part.spelling
        for part in DATA_SETS.values()
    ]
    return listed(spelled, "or")


def source_path(source: str) -> str | None:
    """The path in a source such as ``folder:PATH``; None for a source without one.

    The prefix is stripped without a look at the disk: the path need not exist.
    """
    part, argument = DATA_SETS.find(source)
    return argument if part is not None and part.argument == "PATH" else None


def absolute_source(source: str) -> str:
    """The source with its path, where it has one, made absolute.

    A run may be resumed from another working directory, and by a process of another one.

    Raises:
        RuntimeError: for ``~name`` where there is no user of that name (``Path.expanduser``).
    """
    path = source_path(source)
    if path is None:
        return source
    # absolute(), not resolve(): a symlink may point elsewhere when the run is resumed.
    return f"{source.partition(':')[0]}:{Path(path).expanduser().absolute()}"


def own_size(source: str) -> int:
    """Height and width of a source's images where no size is asked for, in pixels."""
    part, _ = DATA_SETS.find(source)
    return SIZE if part is None else part.image_size


def size_of_images(source: str, wanted: int) -> int:
    """Height and width of the images that a configuration names, in pixels.

    Args:
        source: ``data.source``.
        wanted: ``data.image_size``; 0: the set's own.
    """
    return wanted or own_size(source)


def default_task(classes: int) -> str:
    """The task of data with that many classes where nobody names one."""
    return "ten" if classes == 10 else "all"


def with_tasks() -> Iterator[DataSetPart]:
    """The data sets that have tasks of their own."""
    return (part for part in DATA_SETS.values() if part.tasks)


def task_groups(task: str, class_names: tuple[str, ...]) -> Groups | None:
    """The groups that a task has on these classes.

    Args:
        task: its name, such as ``binary``.
        class_names: of the images; compared as a set, so that a folder of images with the classes
            of CIFAR-10 has its tasks as well.

    Returns:
        None where no data set of these classes has such a task.
    """
    for part in with_tasks():
        if set(class_names) == set(part.class_names) and task in part.tasks:
            return part.tasks[task]
    return None
