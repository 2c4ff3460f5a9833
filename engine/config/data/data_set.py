"""The registry's entry of a data set."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.registry import Part

Groups = Mapping[str, tuple[str, ...]]
"""Label of each group of a task and the classes in it."""


class DataSetPart(Part, frozen=True):
    """A data set: facts that are known before any image is read.

    Attributes:
        title: its name in sentences about its classes; empty where the classes are not known.
        note: a word or two for the help of ``data.source``, in brackets; may be empty.
        class_names: names of its classes, sorted; empty where they are those of the folders.
        tasks: groups of the classes that a task of this name tells apart, beside ``all``.
        sample: ``package.module:name`` of a function that gives a few images for a preview at once,
            without a download.
    """

    title: str = ""
    note: str = ""
    class_names: tuple[str, ...] = ()
    tasks: Mapping[str, Groups] = {}
    sample: str = ""


def each_class(class_names: tuple[str, ...]) -> Groups:
    """A group for every class."""
    return {name: (name,) for name in class_names}
