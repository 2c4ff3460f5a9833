"""Stratified folds for cross-validation inside the labelled part of a probe."""

from __future__ import annotations

import torch
from torch import Tensor

FEW_HELD_OUT = 100
"""Labelled images held out below which their mean loss is too coarse to choose by: then each
labelled image is held out once instead, by folds. (A top-1 of 100 images has a standard error of up
to 5 points.)"""


def fold_count(targets: Tensor, classes: int, wanted: int) -> int:
    """How many folds these targets allow: at most one for each image of the smallest class.

    Args:
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        wanted: folds at most.

    Returns:
        From 2 to ``wanted``; 0 where a class has fewer than two images, and nothing can be chosen.
    """
    smallest = int(torch.bincount(targets.cpu(), minlength=classes).min()) if len(targets) else 0
    count = min(wanted, smallest)
    return count if count >= 2 else 0


def stratified_folds(targets: Tensor, count: int) -> Tensor:
    """The fold of each image, as scikit-learn's ``StratifiedKFold`` without shuffling has it.

    Of each class the images go to the folds in their order, in blocks whose sizes differ by one at
    most; so do the sizes of the folds. Nothing is drawn: the labelled subset was drawn already.

    Args:
        targets: int64 (n,), >= 0.
        count: number of folds, at most the images of the smallest class.

    Returns:
        int64 (n,), in [0, count), on the CPU.
    """
    targets = targets.cpu()
    # Classes are numbered by their first appearance: so the folds of scikit-learn are.
    numbers: dict[int, int] = {}
    encoded = torch.tensor([numbers.setdefault(t, len(numbers)) for t in targets.tolist()])
    order = encoded.sort().values
    sizes = [torch.bincount(order[fold::count], minlength=len(numbers)) for fold in range(count)]
    folds = torch.empty(len(targets), dtype=torch.int64)
    for number in range(len(numbers)):
        repeats = torch.tensor([int(size[number]) for size in sizes])
        folds[encoded == number] = torch.arange(count).repeat_interleave(repeats)
    return folds
