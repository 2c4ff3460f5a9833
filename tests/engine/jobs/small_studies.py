"""Small studies of noise, and a sink that writes down what it hears."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.data import cifar10
from engine.config.resolve import build
from engine.config.schema import StudyConfig
from engine.data.dataset import Dataset, Split
from engine.history.history import History
from engine.runs import RunFolder, create
from engine.sink import NullSink, Request
from engine.study.grid import Cell
from engine.study.study_state import state_from_history

TINY = {
    "queue_sizes": [12, 40],
    "seeds": [0],
    "label_fractions": [0.5, 1.0],
    "tasks": ["binary", "ten"],
    "heads": ["logistic"],
    "subset_seeds": [0],
    "baselines": ["random-init"],
    "pretrain.model.dim": 8,
    "pretrain.model.bn_splits": 2,
    "pretrain.optim.batch_size": 12,
    "pretrain.optim.epochs": 2,
    "pretrain.monitor.knn_every": 0,
    "pretrain.runtime.device": "cpu",
    "pretrain.runtime.threads": 1,
    "probe.validation": 0.34,
    "probe.runtime.device": "cpu",
    "probe.runtime.threads": 1,
    "probe.linear.epochs": 2,
    "probe.linear.views": 2,
    "probe.linear.lr": [0.01, 0.1],
    "probe.logistic.l2": [0.01, 0.1, 1.0],
    "probe.supervised.epochs": 1,
    "probe.supervised.batch_size": 8,
}


def small_study(**changes: Any) -> StudyConfig:
    return build(StudyConfig, {**TINY, **changes})


def some_split(n: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(n) % 10)


def noise_images(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    dataset = Dataset("noise", some_split(60, 0), some_split(30, 1), cifar10.CLASSES)
    monkeypatch.setattr("engine.jobs.job.load_dataset", lambda *args, **options: dataset)
    return dataset


def study_of(root: Path, config: StudyConfig) -> RunFolder:
    return create(root / "runs", "study", config)


def numbers(folder: RunFolder, config: StudyConfig) -> dict[Cell, float | None]:
    study_state = state_from_history(config, History(folder.path.parent))
    assert {found.state for found in study_state.cells.values()} == {"done"}
    return {cell: found.top1 for cell, found in study_state.cells.items()}


def kinds(folder: RunFolder) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in History(folder.path.parent).list():
        found[entry.kind] = found.get(entry.kind, 0) + 1
    return found


def states(folder: RunFolder) -> set[str]:
    return {entry.status for entry in History(folder.path.parent).list()}


class Heard(NullSink):
    """Writes down what it hears; asks for something at its n-th look."""

    def __init__(self, at: int = -1, ask: Request = "stop") -> None:
        self.looks, self.at, self.ask = 0, at, ask
        self.plans: list[Any] = []
        self.steps: list[int] = []
        self.stages: list[tuple[str, int, int]] = []
        self.lines: list[str] = []
        self.acknowledged: list[tuple[Request, int]] = []

    def plan(self, plan: Any) -> None:
        self.plans.append(plan)

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        self.steps.append(step)
        assert values == {"study/cells": step}

    def progress(self, stage: str, done: int, total: int) -> None:
        self.stages.append((stage, done, total))

    def log(self, text: str) -> None:
        self.lines.append(text)

    def request(self) -> Request | None:
        self.looks += 1
        return self.ask if self.looks == self.at or (self.ask != "pause" and self._due()) else None

    def _due(self) -> bool:
        return 0 <= self.at <= self.looks and not self.acknowledged

    def acknowledge(self, request: Request, step: int) -> None:
        self.acknowledged.append((request, step))


def entries_of(folder: RunFolder) -> list[Any]:
    return History(folder.path.parent).list()
