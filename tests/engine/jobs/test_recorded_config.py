"""Code of a user's own that a record names: run when the record is theirs, else refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from engine.config import own_code
from engine.config.fields import fields
from engine.config.registry import Registry
from engine.config.resolve import build
from engine.config.schema import DataConfig, PretrainConfig, ProbeConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError, RunError
from engine.jobs.execute import execute
from engine.jobs.recorded_config import runnable_config
from engine.jobs.trained_encoder import load_encoder
from engine.runs import RunFolder, create

MODULE = "folder"  # so that the path has a form that data.source takes
CODE = f"{MODULE}:noise"
SOURCE = """
import torch
from engine.data.dataset import Dataset, Split

def noise():
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Dataset("noise", Split(images, torch.arange(24) % 4), None, ("a", "b", "c", "d"))
"""
TINY = {
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 20,
    "optim.batch_size": 8,
    "optim.epochs": 1,
    "monitor.knn_every": 0,
    "runtime.device": "cpu",
    "runtime.threads": 1,
}


@pytest.fixture(autouse=True)
def source_of_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A data source that a setting may name as ``package.module:Name``; nothing is named yet."""
    registry: Registry[Any] = Registry("data.source", ())

    def with_registry(type_: Any) -> Any:
        known = dict(fields(type_))
        if type_ is PretrainConfig:
            known["data.source"] = replace(known["data.source"], registry=registry)
        return known

    def load(config: DataConfig, **_: Any) -> Dataset:
        dataset: Dataset = registry.load(config.source)()
        return dataset

    monkeypatch.setattr(own_code, "_named", set())
    monkeypatch.setattr("engine.config.resolve.fields", with_registry)
    monkeypatch.setattr("engine.jobs.job.load_dataset", load)
    (tmp_path / f"{MODULE}.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop(MODULE, None)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    config = build(PretrainConfig, TINY)
    config = replace(config, data=replace(config.data, source=CODE))
    return create(tmp_path / "runs", "pretrain", config)


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process runs as another user than the one whose files these are."""
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)


def test_the_code_in_a_record_of_ones_own_is_run(run: RunFolder, tmp_path: Path) -> None:
    assert execute(run, data_dir=tmp_path) == "finished"
    assert MODULE in sys.modules


@pytest.mark.usefixtures("stranger")
def test_the_code_in_a_record_of_somebody_else_is_refused_until_it_is_named(
    run: RunFolder, tmp_path: Path
) -> None:
    before = run.record_path.read_bytes()
    for _ in range(2):  # the first refusal must not make the record this user's
        with pytest.raises(ConfigError, match=rf"^data\.source is {CODE}, .* --allow-code {CODE}"):
            execute(run, data_dir=tmp_path)
        assert run.record_path.read_bytes() == before
    assert MODULE not in sys.modules
    own_code.name_paths([CODE])
    assert execute(run, data_dir=tmp_path) == "finished"


def test_a_probe_does_not_run_the_code_of_somebody_elses_pretraining(
    run: RunFolder, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert execute(run, data_dir=tmp_path) == "finished"
    assert load_encoder(run).at.step == 3
    request.getfixturevalue("stranger")
    own_code._named.clear()
    with pytest.raises(ConfigError, match="--allow-code"):
        load_encoder(run)
    probe = create(tmp_path / "runs", "probe", build(ProbeConfig, {}), parent=run.id)
    with pytest.raises(ConfigError, match="--allow-code"):
        execute(probe, data_dir=tmp_path)
    assert "--allow-code" in probe.record().error


@pytest.mark.usefixtures("stranger")
def test_a_record_without_code_may_be_anybodys(tmp_path: Path) -> None:
    config = build(PretrainConfig, TINY)
    assert runnable_config(create(tmp_path / "runs", "pretrain", config)) == config


def test_a_configuration_of_another_version_is_a_failure_of_the_run(
    run: RunFolder, tmp_path: Path
) -> None:
    text = run.record_path.read_text(encoding="utf-8")
    run.record_path.write_text(text.replace('"momentum": 0.99', '"momentum": 7.5'), "utf-8")
    with pytest.raises(RunError, match="does not know"):
        execute(run, data_dir=tmp_path)
    assert run.status() == "failed"
    assert "does not know" in run.record().error
