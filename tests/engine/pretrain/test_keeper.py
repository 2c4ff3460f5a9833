"""Kept checkpoints: which are there, that training goes on from each, and kills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.data.dataset import Dataset
from engine.pretrain import checkpoint as checkpoints
from engine.runs import kept_checkpoints as kept
from engine.runs.kept_checkpoints import KEPT_FOLDER

from ..tiny import Script, config_with, noise, run
from ..trees import differences

EPOCHS = 6
STEPS = 3  # of an epoch: 28 images in batches of 8


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


def train(folder: Path, dataset: Dataset, state: Any = None, **values: Any) -> Script:
    folder.mkdir(exist_ok=True)
    sink = Script()
    config = config_with(optim__epochs=EPOCHS, monitor__knn_every=1, **values)
    assert run(config, dataset, folder / "checkpoint.pt", sink, state) == "finished"
    return sink


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / KEPT_FOLDER).iterdir())


def best_epoch(sink: Script) -> int:
    """The first epoch with the highest accuracy, by looking at all of them."""
    found = {step: v for (step, key), v in sink.lines.items() if key == "knn/top1" and step}
    return min(step for step in found if found[step] == max(found.values())) // STEPS


def test_the_epochs_that_are_due_and_the_best_are_there(dataset: Dataset, tmp_path: Path) -> None:
    sink = train(tmp_path / "a", dataset, log__keep_every=2)
    best = f"best-{best_epoch(sink)}.pt"
    assert names(tmp_path / "a") == sorted([best, "epoch-2.pt", "epoch-4.pt", "epoch-6.pt"])
    for one in kept.kept_checkpoints(tmp_path / "a"):
        assert checkpoints.load(one.path)["step"] == one.epoch * STEPS
        assert one.size == one.path.stat().st_size
    assert [one.name for one in kept.kept_checkpoints(tmp_path / "a")] == ["2", "4", "6", "best"]


def test_the_newest_are_kept_and_none_but_the_best_by_default(
    dataset: Dataset, tmp_path: Path
) -> None:
    sink = train(tmp_path / "a", dataset, log__keep_every=1, log__keep_last=2)
    best = f"best-{best_epoch(sink)}.pt"
    assert names(tmp_path / "a") == sorted([best, "epoch-5.pt", "epoch-6.pt"])
    train(tmp_path / "b", dataset)
    assert names(tmp_path / "b") == [best]


def test_keeping_changes_no_bit_of_the_training(dataset: Dataset, tmp_path: Path) -> None:
    train(tmp_path / "a", dataset, log__keep_every=1)
    train(tmp_path / "b", dataset, log__checkpoint_seconds=86_400)
    one, other = (checkpoints.load(tmp_path / name / "checkpoint.pt") for name in "ab")
    assert differences(one, other) == []


def test_training_goes_on_from_a_kept_one_to_the_same_bits(
    dataset: Dataset, tmp_path: Path
) -> None:
    train(tmp_path / "a", dataset, log__keep_every=1)
    end = checkpoints.load(tmp_path / "a" / "checkpoint.pt")
    for one in kept.kept_checkpoints(tmp_path / "a"):
        folder = tmp_path / f"from-{one.path.stem}"
        train(folder, dataset, checkpoints.load(one.path), log__keep_every=1)
        assert differences(checkpoints.load(folder / "checkpoint.pt"), end) == []


def test_what_a_kill_left_out_is_kept_at_the_resume(dataset: Dataset, tmp_path: Path) -> None:
    """Between the checkpoint of an epoch and its second name: the checkpoint alone is there."""
    sink = train(tmp_path / "a", dataset, log__keep_every=2)
    best = best_epoch(sink)
    for epoch in {2, best}:
        all_kept = kept.kept_checkpoints(tmp_path / "a")
        source = next(one.path for one in all_kept if one.epoch == epoch)
        folder = tmp_path / f"killed-{epoch}"
        folder.mkdir()
        (folder / "checkpoint.pt").write_bytes(source.read_bytes())
        train(folder, dataset, checkpoints.load(source), log__keep_every=2)
        due = {f"epoch-{e}.pt" for e in (2, 4, 6) if e >= epoch}
        wanted = due | ({f"best-{best}.pt"} if best >= epoch else set())
        assert set(names(folder)) == wanted


def test_a_folder_that_is_a_link_is_left_alone_and_the_run_ends(
    dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a" / KEPT_FOLDER).symlink_to(tmp_path / "elsewhere")
    sink = train(tmp_path / "a", dataset, log__keep_every=3)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert any("epoch 3 could not be kept: it is a link" in line for line in sink.logged)


def test_where_there_are_no_hard_links_a_copy_is_kept(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr("engine.runs.kept_checkpoints.os.link", refuse)
    train(tmp_path / "a", dataset, log__keep_every=3)
    for one in kept.kept_checkpoints(tmp_path / "a"):
        assert one.path.stat().st_nlink == 1
        assert checkpoints.load(one.path)["step"] == one.epoch * STEPS
