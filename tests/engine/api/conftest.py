"""A small pretraining on the embedded images, its probe and a study, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

import engine
from engine.exchange.imported_run import import_encoder

SMALL: dict[str, Any] = {
    "data.limit": 100,
    "optim.epochs": 1,
    "optim.batch_size": 20,
    "moco.queue_size": 64,
    "model.bn_splits": 2,
    "monitor.knn_every": 0,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}
PROBE: dict[str, Any] = {
    "label_fraction": 0.5,
    "head": "logistic",
    "baselines": ["random-init"],
    "runtime.device": "cpu",
    "runtime.threads": 1,
}
STUDY: dict[str, Any] = {
    "queue_sizes": [64],
    "seeds": [0],
    "tasks": ["ten"],
    "label_fractions": [0.5],
    "baselines": ["random-init"],
    "probe.runtime.device": "cpu",
    "probe.runtime.threads": 1,
    **{f"pretrain.{key}": value for key, value in SMALL.items() if key != "moco.queue_size"},
}


@dataclass(frozen=True)
class Trained:
    """A workspace with a run of each kind; an imported encoder, in another one."""

    work: engine.Workspace
    run: engine.Run
    probe: engine.Run
    study: engine.Run
    imported: engine.Run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root: Path = tmp_path_factory.mktemp("api")
    work = engine.Workspace(root / "runs", root / "data")
    run = work.pretrain("quick", SMALL, name="first")
    probe = work.probe(run, PROBE, name="its probe")
    study = work.study("quick-study", STUDY, name="its study")
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), root / "weights.pt")
    others = engine.Workspace(root / "others", root / "data")
    imported = others.open(import_encoder(others.root, root / "weights.pt", "resnet18").path)
    return Trained(work, run, probe, study, imported)
