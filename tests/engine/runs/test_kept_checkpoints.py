"""Which kept checkpoint a name means, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunError
from engine.runs import RunFolder, create, own
from engine.runs.kept_checkpoints import (
    KEPT_FOLDER,
    checkpoint_file,
    checkpoints_at_end,
    keep,
    kept_checkpoints,
    remove_oldest,
)
from engine.sink import Plan


def run_at(root: Path, step: int) -> RunFolder:
    """A pretraining of ten steps an epoch, whose last checkpoint is of a step."""
    folder = create(root, "pretrain", PretrainConfig())
    with own(folder) as owner:
        owner.transition("running")
        owner.plan(Plan(total_steps=100, steps_per_epoch=10, pairs_per_step=8, device="cpu"))
        owner.checkpointed(step)
        owner.transition("stopped")
    folder.checkpoint_path.write_bytes(b"of step %d" % step)
    return folder


def test_an_epoch_is_found_among_the_epochs_the_best_and_the_last(tmp_path: Path) -> None:
    folder = run_at(tmp_path, 40)
    keep(folder.path, folder.checkpoint_path, "epoch", 2)
    keep(folder.path, folder.checkpoint_path, "best", 3)
    kept = folder.path / KEPT_FOLDER
    assert checkpoint_file(folder, "2") == kept / "epoch-2.pt"
    assert checkpoint_file(folder, "3") == checkpoint_file(folder, "best") == kept / "best-3.pt"
    assert checkpoint_file(folder, "4") == checkpoint_file(folder) == folder.checkpoint_path
    with pytest.raises(RunError, match=r"no checkpoint of epoch 5; it has that of epoch 2, @best"):
        checkpoint_file(folder, "5")


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    within = run_at(tmp_path, 41)  # the last checkpoint is of no whole epoch
    with pytest.raises(RunError, match=r"epoch 4; it has @last; log.keep_every keeps"):
        checkpoint_file(within, "4")
    with pytest.raises(RunError, match="no checkpoint of the best kNN; it has @last"):
        checkpoint_file(within, "best")
    probe = create(tmp_path, "probe", ProbeConfig())
    with pytest.raises(RunError, match="it is a probe, and only a pretraining"):
        checkpoint_file(probe, "4")
    new = create(tmp_path, "pretrain", PretrainConfig())
    with pytest.raises(RunError, match="it has none yet"):
        checkpoint_file(new, "4")


def test_a_second_name_stays_when_the_first_gets_another_file(tmp_path: Path) -> None:
    folder = run_at(tmp_path, 20)
    keep(folder.path, folder.checkpoint_path, "epoch", 2)
    other = folder.path / "other"
    other.write_bytes(b"another")
    other.replace(folder.checkpoint_path)
    assert checkpoint_file(folder, "2").read_bytes() == b"of step 20"
    keep(folder.path, folder.checkpoint_path, "epoch", 2)  # twice: in place of the first
    assert checkpoint_file(folder, "2").read_bytes() == b"another"


def test_the_later_best_is_alone_and_the_oldest_epochs_go(tmp_path: Path) -> None:
    folder = run_at(tmp_path, 20)
    for epoch in (2, 9, 10):
        keep(folder.path, folder.checkpoint_path, "epoch", epoch)
        keep(folder.path, folder.checkpoint_path, "best", epoch)
    found = [(one.reason, one.epoch) for one in kept_checkpoints(folder.path)]
    assert found == [("epoch", 2), ("epoch", 9), ("epoch", 10), ("best", 10)]
    remove_oldest(folder.path, 1)
    assert [one.name for one in kept_checkpoints(folder.path)] == ["10", "best"]


def test_other_files_and_links_are_none(tmp_path: Path) -> None:
    folder = run_at(tmp_path, 20)
    kept = folder.path / KEPT_FOLDER
    kept.mkdir()
    (kept / "epoch-3.pt").symlink_to(folder.checkpoint_path)
    for name in ("epoch-0.pt", "epoch-03.pt", "epoch-x.pt", "best-1.txt", ".epoch-1.pt.1.tmp"):
        (kept / name).write_bytes(b"")
    (kept / "epoch-4.pt").mkdir()
    assert kept_checkpoints(folder.path) == []


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"monitor.knn_every": 0}, 1),
        ({"monitor.knn_every": 5}, 2),
        ({"monitor.knn_every": 5, "log.keep_every": 3}, 2 + 6),
        ({"monitor.knn_every": 0, "log.keep_every": 3, "log.keep_last": 4}, 1 + 4),
        ({"monitor.knn_every": 0, "log.keep_every": 30}, 1),
    ],
)
def test_what_a_run_of_twenty_epochs_leaves(values: dict[str, int], count: int) -> None:
    assert checkpoints_at_end(build(PretrainConfig, values), 20) == count
