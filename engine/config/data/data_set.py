"""The registry's entry of a data set."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config.registry import Part

SIZE = 32
"""Height and width of the images of most sets, in pixels; the smallest that may be asked for."""

LARGEST_SIZE = 224
"""The largest that may be asked for."""

Groups = Mapping[str, tuple[str, ...]]
"""Label of each group of a task and the classes in it."""


class DataSetPart(Part, frozen=True):
    """A data set: facts that are known before any image is read.

    Attributes:
        title: its name in sentences about its classes; empty where the classes are not known.
        note: a word or two for the help of ``data.source``, in brackets; may be empty.
        class_names: names of its classes, sorted; empty where they are those of the folders.
        train_labels: training images that have a label; 0 where that is not known.
        tasks: groups of the classes that a task of this name tells apart, beside ``all``.
        sample: ``package.module:name`` of a function that gives a few images for a preview at once,
            without a download.
        image_size: height and width of its images where the configuration names none, in pixels.
        decodes: whether its work makes images of any size from files, and takes it as ``size``; of
            other sets the images are resized once they are read.
        folder: ``package.module:name`` of a function that gives the folder of its image files,
            below that of the data sets; empty where its images are no files, or the source names
            their folder.
    """

    title: str = ""
    note: str = ""
    class_names: tuple[str, ...] = ()
    train_labels: int = 0
    tasks: Mapping[str, Groups] = {}
    sample: str = ""
    image_size: int = SIZE
    decodes: bool = False
    folder: str = ""


def each_class(class_names: tuple[str, ...]) -> Groups:
    """A group for every class."""
    return {name: (name,) for name in class_names}
