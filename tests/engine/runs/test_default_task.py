"""The task that a probe solves by default follows the classes of its pretraining's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.runs.data_identity import DataIdentity
from engine.runs.default_task import default_task_of
from engine.runs.root import create


@pytest.mark.parametrize(
    ("classes", "source", "task"),
    [
        (2, "folder:/x", "all"),
        (3, "folder:/x", "all"),
        (10, "folder:/x", "ten"),
        (100, "folder:/x", "all"),
        (0, "folder:/x", "ten"),  # without classes there is no task; the usual one says so
        (None, "cifar100", "all"),
        (None, "stl10", "ten"),
        (None, "folder:/x", "ten"),
        (7, "cifar10", "all"),  # what was read counts
    ],
)
def test_by_the_number_of_classes(
    tmp_path: Path, classes: int | None, source: str, task: str
) -> None:
    record = create(tmp_path, "pretrain", build(PretrainConfig, {"data.source": source})).record()
    data: list[dict[str, Any]] = []
    if classes is not None:
        identity = DataIdentity(train=9, classes=classes, train_images="a", train_labels="b")
        data = [{"step": 0, **identity.facts()}]
    assert default_task_of(msgspec.structs.replace(record, data=data)) == task
