"""Runs with an encoder, made without a training, and a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine.config.schema import PretrainConfig
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.training_state import TrainingState
from engine.runs import RunFolder, create, own
from engine.runs.data_identity import DataIdentity
from engine.sink import Plan

from ..tiny import RUNTIME, config_with

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def make_run(root: Path) -> MakeRun:
    """A finished pretraining with the weights of the first step and statistics of a batch.

    ``seen`` is what its checkpoint says that it was trained on.
    """

    def make(*, seen: DataIdentity | None = None, **values: Any) -> RunFolder:
        config: PretrainConfig = config_with(**values)
        folder = create(root, "pretrain", config, name="a run")
        torch.manual_seed(3)
        size = config.data.size
        images = torch.randint(0, 256, (16, 3, size, size), dtype=torch.uint8)
        state = TrainingState(config, images, RUNTIME, static=False)
        with torch.no_grad():
            state.model.encoder_q(torch.randn(8, 3, size, size))  # moves the running statistics
        with own(folder) as owner:
            owner.transition("running")
            owner.plan(Plan(total_steps=8, steps_per_epoch=2))
            owner.metrics(2, 1.0, {"knn/top1": 41.25})
            data = {} if seen is None else {"data": seen.facts()}
            checkpoints.save(folder.checkpoint_path, {**state.state_dict(), **data})
            owner.checkpointed(0)
            owner.transition("finished")
        return folder

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of images of two classes, one broken file among them; one name is a formula."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for part, count in (("train", 6), ("test", 3)):
        for name in ("=cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    (folder / "train" / "dog" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder
