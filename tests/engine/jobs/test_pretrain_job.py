"""Runs that go on from a checkpoint of another one, made, stopped and resumed as any run is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset, Split
from engine.errors import ConfigError, DataError
from engine.jobs.execute import execute
from engine.jobs.prepare import prepare
from engine.jobs.trained_encoder import load_encoder
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create
from engine.runs.branching import branch_start
from engine.runs.checkpoint_ref import CheckpointRef
from engine.sink import NullSink

from ..trees import differences
from .test_execute import TINY, Asks, give, inverted

SETTINGS = {**TINY, "monitor.knn_every": 1, "monitor.knn_k": 2, "log.keep_every": 1}


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Three steps an epoch, of noise."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.arange(24) % 4)
    return give(monkeypatch, Dataset("noise", split, None, ("a", "b", "c", "d")))


def made(root: Path, **changes: Any) -> PretrainConfig:
    del root
    return build(PretrainConfig, SETTINGS | {k.replace("__", "."): v for k, v in changes.items()})


@pytest.fixture
def parent(tmp_path: Path) -> RunFolder:
    run = create(tmp_path / "runs", "pretrain", made(tmp_path))
    assert execute(run, data_dir=tmp_path) == "finished"
    return run


def fork(parent: RunFolder, which: str, **changes: Any) -> RunFolder:
    start = branch_start(CheckpointRef(parent, which), "fork")
    root = parent.path.parent
    return create(root, "pretrain", made(root, **changes), start=start)


def end(folder: RunFolder) -> dict[str, Any]:
    return checkpoints.load(folder.checkpoint_path)


def test_a_fork_that_is_stopped_anywhere_ends_in_the_same_bits(
    parent: RunFolder, tmp_path: Path
) -> None:
    whole, stopped = (fork(parent, "1", optim__lr=0.01, optim__epochs=4) for _ in range(2))
    files = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    assert execute(whole, data_dir=tmp_path) == "finished"
    log = whole.metrics()
    log.poll()
    assert list(log.series("train/loss")[0]) == list(range(4, 13))  # behind three steps
    assert log.series("train/lr")[1][0] == pytest.approx(0.005 * (1 + 2**-0.5))
    for at in (3, 4, 6, 11):  # 3: before its first step
        sink = Asks((at if at > 3 else 0, "hand-over"))
        assert execute(stopped, data_dir=tmp_path, sink=sink) == "handed-over"
        assert stopped.start_path.exists()
    shutil.rmtree(parent.path / "checkpoints")  # it has its own
    assert execute(stopped, data_dir=tmp_path) == "finished"
    assert differences(end(stopped), end(whole)) == []
    assert not stopped.start_path.exists()
    kept = {path: data for path, data in files.items() if "checkpoints" not in path.parts}
    assert {path: path.read_bytes() for path in kept} == kept  # the other run is untouched


def test_without_its_own_checkpoint_it_begins_again_from_the_other_ones(
    parent: RunFolder, tmp_path: Path
) -> None:
    whole, again = (fork(parent, "2", optim__epochs=4) for _ in range(2))
    execute(whole, data_dir=tmp_path)
    execute(again, data_dir=tmp_path, sink=Asks((8, "hand-over")))
    again.checkpoint_path.unlink()
    checkpoints.previous(again.checkpoint_path).unlink(missing_ok=True)
    assert execute(again, data_dir=tmp_path) == "finished"
    assert differences(end(again), end(whole)) == []
    log = again.metrics()
    log.poll()
    assert list(log.series("train/loss")[0]) == list(range(7, 13))


def test_an_encoder_of_a_kept_checkpoint_says_which_it_is(parent: RunFolder) -> None:
    first, last = load_encoder(parent, "1"), load_encoder(parent)
    assert (first.at.step, first.at.epoch, first.at.checkpoint) == (3, 1.0, "1")
    assert (last.at.step, last.at.epoch, last.at.checkpoint) == (9, 3.0, "")
    assert first.at.fingerprint != last.at.fingerprint
    assert load_encoder(parent, "3").at.fingerprint == last.at.fingerprint
    state = checkpoints.load(parent.path / "checkpoints" / "epoch-1.pt")["model"]
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(value, state[f"encoder_q.{name}"])


def test_before_there_is_a_run_what_does_not_fit_is_refused(
    parent: RunFolder, tmp_path: Path, noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(**changes: Any) -> None:
        prepare(
            made(tmp_path, **changes),
            root=parent.path.parent,
            parent="",
            data_dir=tmp_path,
            sink=NullSink(),
            start=parent.checkpoint_path,
        )

    look(optim__epochs=4)
    with pytest.raises(ConfigError, match=r"model\.dim is 4"):
        look(optim__epochs=4, model__dim=4)
    give(monkeypatch, inverted(noise))
    with pytest.raises(DataError, match=r"The data are not those that .* was trained on"):
        look(optim__epochs=4)
