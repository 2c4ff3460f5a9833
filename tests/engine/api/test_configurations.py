"""Configurations; and the examples in the documentation of every module of this room."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import numpy as np
import pytest
import torch

import engine
import engine.api
from engine.errors import UserError

from .conftest import Trained

MODULES = [f"engine.api.{found.name}" for found in pkgutil.iter_modules(engine.api.__path__)]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def attempted(module: str, **names: object) -> int:
    """How many examples a module has; fails with what differs."""
    found = importlib.import_module(module)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(found):
        test.globs |= names
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)
    return runner.tries


def test_the_whole_interface_from_a_configuration_to_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOCO_TUI_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MOCO_TUI_RUNS", raising=False)
    assert attempted("engine.api") > 20


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_a_module(module: str, trained: Trained) -> None:
    names = {name: getattr(trained, name) for name in ("work", "run", "probe", "study", "imported")}
    attempted(module, np=np, torch=torch, **names)


def test_most_modules_have_examples() -> None:
    with_examples = [
        m for m in MODULES if ">>> " in Path(importlib.import_module(m).__file__ or "").read_text()
    ]
    assert len(with_examples) >= 5


def test_a_toml_file_lies_between_preset_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[optim]\nepochs = 7\nlr = 0.5\n")
    config = engine.pretrain_config("quick", {"optim.lr": 0.25}, toml=file)
    assert (config.optim.epochs, config.optim.lr, config.data.source) == (7, 0.25, "shapes")
    assert engine.settings_of_config(config)["optim.epochs"] == 7
    with pytest.raises(UserError):
        engine.probe_config(toml=tmp_path / "none.toml")
