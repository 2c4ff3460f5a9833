"""Shared by the tests of the history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.history import index as indexes
from engine.history.history import History
from engine.runs import RunFolder, RunOwner, create, own


def own_indexed(folder: RunFolder) -> RunOwner:
    """As the engine's jobs own a run: changes of its state go into the index."""
    return own(folder, on_change=indexes.note_change)


def make(
    root: Path,
    name: str = "",
    *,
    knn: float | None = None,
    preset: str = "",
    end: str = "finished",
    **values: Any,
) -> RunFolder:
    config = build(PretrainConfig, {k.replace("__", "."): v for k, v in values.items()})
    folder = create(root, "pretrain", config, name=name, preset=preset)
    with own_indexed(folder) as owner:
        owner.transition("running")
        if knn is not None:
            owner.metrics(1, 0.1, {"knn/top1": knn, "train/loss": 10.0 - knn / 10})
        owner.transition(end)  # type: ignore[arg-type]
    return folder


def ids(history: History, query: str = "", **options: Any) -> list[str]:
    return [entry.id for entry in history.list(query, **options)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def index(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / "history.json").read_bytes()))
