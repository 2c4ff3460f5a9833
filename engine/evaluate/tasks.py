"""Which classification a probe solves, and which labels it may use.

Everything here is drawn from Python's own ``random.Random``: a subset is the same with any torch,
on any device, and whatever else draws random numbers in the process. Its seeds are texts, which it
hashes with SHA-512 (not with ``hash``, which differs from process to process).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config.data import task_groups, with_tasks
from engine.config.phrases import listed, plural
from engine.config.schema import ProbeConfig, TaskConfig
from engine.data.dataset import Dataset
from engine.errors import DataError

# 0.29 of 50 images is 14.499999999999998 in binary floating point, and has to round up as 14.5.
_HALF_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Task:
    """A classification over groups of the data's classes.

    Attributes:
        name: as in the configuration.
        groups: names of the groups; a target is an index into them.
        mapping: int64 (C,), the group of each class of the data, -1 for a class left out.
        members: names of the classes in each group, in the order of ``groups``.
    """

    name: str
    groups: tuple[str, ...]
    mapping: Tensor
    members: tuple[tuple[str, ...], ...]

    def targets(self, labels: Tensor) -> Tensor:
        """Groups (N,) of class labels (N,), int64; -1 for classes left out and for no label."""
        # The clamp: where() evaluates both sides, and -1 would be the last class.
        return torch.where(labels < 0, -1, self.mapping.to(labels.device)[labels.clamp(min=0)])

    def restrict(self, labels: Tensor) -> Tensor:
        """The class labels (N,) themselves, -1 where the class is not part of the task."""
        return torch.where(self.targets(labels) < 0, -1, labels)


def resolve_task(config: TaskConfig, class_names: Sequence[str]) -> Task:
    """The task of a configuration on data with these classes.

    Without groups in the configuration: ``all`` tells every class apart, and so does ``ten`` where
    there are ten; ``five`` the first five of CIFAR-10 or of another set that has such a task (also
    in a folder with its class names, in any order), ``binary`` vehicles from animals, or round
    shapes from straight ones. ``five`` and ``binary`` also fit data that has just five or two
    classes.

    Raises:
        DataError: when the data has no classes, or the task does not fit the ones it has.
    """
    if not class_names:
        raise DataError(
            "These images have no classes, and a probe needs labels; put them into one folder "
            "for each class (train/<class>/ and test/<class>/)."
        )
    groups = (
        _configured_groups(config, class_names)
        if config.groups
        else _builtin_groups(config, class_names)
    )
    mapping = torch.full((len(class_names),), -1, dtype=torch.int64)
    for group, members in enumerate(groups.values()):
        for member in members:
            mapping[class_names.index(member)] = group
    return Task(config.name, tuple(groups), mapping, tuple(tuple(m) for m in groups.values()))


def _configured_groups(
    config: TaskConfig, class_names: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    for group, members in config.groups.items():
        for member in members:
            if member not in class_names:
                raise DataError(
                    f"task.groups: the group {group} names the class {member}, which the data "
                    f"does not have; it has {_listed(class_names)}."
                )
    return config.groups


def _builtin_groups(config: TaskConfig, class_names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    name, count = config.name, len(class_names)
    each = {class_name: (class_name,) for class_name in class_names}
    if count < 2:
        raise DataError(f"The data has one class ({class_names[0]}); a probe needs at least two.")
    if name == "all":
        return each
    if name == "ten":
        if count != 10:
            raise DataError(
                f"The task ten needs data with ten classes, and this has {count}; the task all "
                "fits any number."
            )
        return each
    groups = task_groups(name, tuple(class_names))
    if groups is not None:
        return groups
    needed = {"binary": 2, "five": 5}.get(name, 0)
    if count == needed:
        return each
    known = listed([part.title for part in with_tasks()])
    raise DataError(
        f"The task {name} is defined for the classes of {known}, or for just {needed}, and this "
        f"data has {count} ({_listed(class_names)}); take the task all, or say in task.groups "
        "which classes it tells apart."
    )


def _listed(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def share_of(count: int, share: float) -> int:
    """``share`` of ``count`` things, rounded to the nearest whole number, halves up."""
    return min(count, math.floor(share * count + 0.5 + _HALF_TOLERANCE))


def labelled_subset(
    labels: Tensor, fraction: float, seed: int, *, class_names: Sequence[str] = ()
) -> Tensor:
    """The images whose labels may be used: a share of every class.

    Of a class with ``n`` images ``fraction * n`` are taken, rounded to the nearest whole number
    (halves up). For one seed the subsets are nested: what belongs to a smaller fraction belongs
    to every larger one. The choice in a class depends on the seed and the class alone, so a task
    over some of the classes uses the same images of them as a task over all.

    Args:
        labels: int64 (N,), classes; -1 where an image is not to be used.
        fraction: in (0, 1].
        seed: of the choice.
        class_names: for the message; the classes' numbers otherwise.

    Returns:
        int64 (n,), indices into ``labels``, ascending.

    Raises:
        DataError: when a class has no image at all, or the fraction leaves it none.
    """
    chosen: list[int] = []
    for label, rows in _by_class(labels).items():
        take = share_of(len(rows), fraction)
        if take == 0:
            smallest = math.ceil(0.5 / len(rows) * 1e6) / 1e6  # gives one image, in six digits
            noun = "image" if len(rows) == 1 else "images"
            raise DataError(
                f"label_fraction {fraction:g} leaves the class {_name(label, class_names)} "
                f"({len(rows)} training {noun}) without a label; it must be at least "
                f"{smallest:g}."
            )
        # A prefix of a shuffled list that does not depend on the fraction: subsets are nested.
        random.Random(f"labelled/{seed}/{label}").shuffle(rows)
        chosen += rows[:take]
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def split_validation(
    labels: Tensor, share: float, seed: int, least: int = 2
) -> tuple[Tensor, Tensor]:
    """The labelled part in two: one to fit on, one to choose the regularisation by.

    Of every class ``share`` is held out, rounded to the nearest whole number but at least one
    image, and at least one stays to fit on.

    Args:
        labels: int64 (n,), classes of the labelled images, all >= 0.
        share: in (0, 1).
        seed: of the choice.
        least: images of the smallest class below which nothing is held out, 2 or more.

    Returns:
        fit, validate: int64 indices into ``labels``, ascending. ``validate`` is empty when some
        class has fewer than ``least`` images: then nothing is chosen inside the labelled part.
    """
    classes = _by_class(labels)
    everything = torch.arange(len(labels))
    if any(len(rows) < least for rows in classes.values()):
        return everything, everything[:0]
    held: list[int] = []
    for label, rows in classes.items():
        random.Random(f"validation/{seed}/{label}").shuffle(rows)
        held += rows[: min(max(share_of(len(rows), share), 1), len(rows) - 1)]
    validate = torch.tensor(sorted(held), dtype=torch.int64)
    keep = torch.ones(len(labels), dtype=torch.bool)
    keep[validate] = False
    return everything[keep], validate


@dataclass(frozen=True)
class Material:
    """The images and targets that every source of a probe is fitted to and evaluated on.

    Attributes:
        task: the classification.
        rows: int64 (n,), the labelled training images, ascending.
        targets: int64 (n,), their groups.
        fit: int64, positions in ``rows`` to fit on while something is chosen.
        validate: int64, positions to choose by; empty when the labelled part is too small.
        test_rows: int64 (m,), the test images that belong to the task.
        test_targets: int64 (m,), their groups.
        untuned: why nothing is held out and tuned, for the protocol; empty where it is.
    """

    task: Task
    rows: Tensor
    targets: Tensor
    fit: Tensor
    validate: Tensor
    test_rows: Tensor
    test_targets: Tensor
    untuned: str = ""


def prepare_material(config: ProbeConfig, dataset: Dataset) -> Material:
    """Finds the task and the labelled images, and checks that the data has what it takes.

    Raises:
        DataError: one sentence on what is missing.
    """
    names, train, test = dataset.class_names, dataset.train, dataset.test
    task = resolve_task(config.task, names)
    if not train.labelled:
        raise DataError(
            "The training images have no labels, and a probe needs them; put the images into one "
            "folder for each class (train/<class>/)."
        )
    if test is None or len(test) == 0:
        raise DataError(
            "There are no test images, and a probe is judged on images that it was not fitted to; "
            "put some into test/<class>/."
        )
    labels = task.restrict(train.labels)
    present = set(labels.tolist())
    for label, group in enumerate(task.mapping.tolist()):
        if group >= 0 and label not in present:
            raise DataError(
                f"There is no training image of the class {names[label]}, which the task "
                f"{task.name} needs."
            )
    rows = labelled_subset(labels, config.label_fraction, config.subset_seed, class_names=names)
    of_rows = labels[rows]
    fit, validate = split_validation(
        of_rows, config.validation, config.subset_seed, config.tune_from
    )
    test_targets = task.targets(test.labels)
    test_rows = (test_targets >= 0).nonzero().squeeze(1)
    if not len(test_rows):
        raise DataError(f"No test image belongs to a class of the task {task.name}.")
    return Material(
        task=task,
        rows=rows,
        targets=task.targets(of_rows),
        fit=fit,
        validate=validate,
        test_rows=test_rows,
        test_targets=test_targets[test_rows],
        untuned="" if len(validate) else _untuned(of_rows, config.tune_from),
    )


def _untuned(labels: Tensor, least: int) -> str:
    """Why nothing is held out of labelled images of these classes."""
    smallest = min(len(rows) for rows in _by_class(labels).values())
    return (
        f"nothing is held out and nothing tuned, for the smallest class has "
        f"{plural(smallest, 'label')} and that begins at {least}"
    )


def _by_class(labels: Tensor) -> dict[int, list[int]]:
    """The rows of each class, ascending; -1 left out."""
    rows: dict[int, list[int]] = {}
    for row, label in enumerate(labels.tolist()):
        if label >= 0:
            rows.setdefault(label, []).append(row)
    return dict(sorted(rows.items()))


def _name(label: int, class_names: Sequence[str]) -> str:
    return class_names[label] if class_names else str(label)
