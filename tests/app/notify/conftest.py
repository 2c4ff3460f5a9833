"""A configuration of a person with a command that keeps what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...receiver import Receiver


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own" / "config.toml"
    path.parent.mkdir()
    monkeypatch.setenv("MOCO_TUI_CONFIG", str(path))
    return path


@pytest.fixture
def receiver(tmp_path: Path, config: Path) -> Receiver:
    made = Receiver(tmp_path / "receiver")
    config.write_text(made.configured())
    return made
