"""Stratified folds are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from engine.evaluate.folds import fold_count, stratified_folds


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [2, 3, 5])
def test_they_are_those_of_scikit_learn(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.cat(
        [torch.arange(4).repeat(count), torch.randint(0, 4, (23,), generator=generator)]
    )
    targets = targets[torch.randperm(len(targets), generator=generator)]
    wanted = np.empty(len(targets), dtype=np.int64)
    parts = StratifiedKFold(count).split(np.zeros(len(targets)), targets.numpy())
    for fold, (_, held) in enumerate(parts):
        wanted[held] = fold
    assert stratified_folds(targets, count).tolist() == wanted.tolist()


def test_a_class_of_few_images_allows_few_folds_and_one_of_a_single_image_none() -> None:
    targets = torch.tensor([0] * 9 + [1] * 3)
    assert fold_count(targets, 2, 5) == 3
    assert fold_count(targets, 2, 2) == 2
    assert fold_count(torch.tensor([0] * 9 + [1] * 7), 2, 5) == 5
    assert fold_count(torch.tensor([0] * 9 + [1]), 2, 5) == 0
    assert fold_count(targets, 3, 5) == 0, "a class that does not occur"
    assert fold_count(targets[:0], 2, 5) == 0
