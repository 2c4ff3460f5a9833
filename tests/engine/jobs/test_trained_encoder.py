"""A probe takes no other encoder from a checkpoint than the one that the record describes."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.jobs.trained_encoder import load_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.pretraining import Pretraining
from engine.runs import RunFolder, create

from ..tiny import RUNTIME

TINY = {"model.dim": 8, "model.bn_splits": 2, "moco.queue_size": 16, "optim.batch_size": 8}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A pretraining of one step."""
    config = build(PretrainConfig, TINY)
    folder = create(tmp_path / "runs", "pretrain", config)
    training = Pretraining(config, torch.zeros(8, 3, 32, 32, dtype=torch.uint8), RUNTIME)
    training.advance()
    checkpoints.save(folder.checkpoint_path, training.state_dict())
    return folder


def changed(run: RunFolder, **changes: Any) -> None:
    state = checkpoints.load(run.checkpoint_path)
    checkpoints.save(run.checkpoint_path, copy.deepcopy(state) | changes)


def test_the_encoder_is_that_of_the_checkpoint(run: RunFolder) -> None:
    found = load_encoder(run)
    state = checkpoints.load(run.checkpoint_path)
    assert found.at.step == 1
    for name, tensor in found.encoder.state_dict().items():
        assert torch.equal(tensor, state["model"][f"encoder_q.{name}"]), name


def test_code_that_only_a_checkpoint_names_is_not_imported(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_module.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    model = checkpoints.load(run.checkpoint_path)["model_config"]
    changed(run, model_config=model | {"encoder": "planted_module:Net"})
    with pytest.raises(RunError, match="does not hold the encoder that its record describes"):
        load_encoder(run)
    assert "planted_module" not in sys.modules


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"model": {}},
        {"model": {1: 2}},
        {"step": "x"},
        {"step": -1},
        {"mean": torch.zeros(1)},
        {"std": None},
        {"model_config": 3},
        {"steps_per_epoch": True},
    ],
)
def test_a_state_that_does_not_fit_is_a_sentence(run: RunFolder, changes: dict[str, Any]) -> None:
    changed(run, **changes)
    with pytest.raises(RunError, match="does not hold the encoder that its record describes"):
        load_encoder(run)


def test_a_damaged_checkpoint_names_the_way_on(run: RunFolder) -> None:
    changed(run)
    run.checkpoint_path.write_bytes(b"x")
    with pytest.raises(RunError, match=f"Resume run {run.id}: it goes on from the one before it"):
        load_encoder(run)
    checkpoints.remove_previous(run.checkpoint_path)
    with pytest.raises(RunError, match=r"truncated or damaged\.$"):
        load_encoder(run)
