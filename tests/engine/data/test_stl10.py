"""STL-10: images that lie by columns, and training images of which most have no label."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import STL10

from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, load_dataset

from . import stand_ins


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> stand_ins.Server:
    return stand_ins.stl10(monkeypatch)


def load(data_dir: Path, limit: int = 0) -> Dataset:
    return load_dataset(DataConfig(source="stl10", limit=limit), data_dir=data_dir)


def check(found: Dataset, server: stand_ins.Server) -> None:
    images, labels = server.images, server.labels
    assert found.test is not None
    train = np.concatenate([images["train"], images["unlabeled"]])
    assert (found.train.images.numpy() == train).all()
    assert found.train.labels.tolist() == [*labels["train"], *[-1] * len(images["unlabeled"])]
    assert (found.test.images.numpy() == images["test"]).all()
    assert found.test.labels.tolist() == labels["test"].tolist()


def test_the_labelled_images_come_first_and_all_are_trained_on(
    server: stand_ins.Server, tmp_path: Path
) -> None:
    found = load(tmp_path)
    check(found, server)
    assert found.train.labelled
    assert found.train.labelled_rows.tolist() == list(range(40))
    identity = found.identity
    assert (identity.train, identity.unlabelled, identity.test) == (70, 30, 20)


def test_torchvision_reads_the_same(server: stand_ins.Server, tmp_path: Path) -> None:
    found = load(tmp_path)
    theirs = STL10(tmp_path, split="train+unlabeled")
    assert (found.train.images.numpy() == theirs.data).all()
    assert found.train.labels.tolist() == theirs.labels.tolist()


def test_the_cache_does_without_the_files(server: stand_ins.Server, tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / STL10.filename).unlink()
    shutil.rmtree(tmp_path / STL10.base_folder)
    check(load(tmp_path), server)
    assert len(server.calls) == 1


@pytest.mark.parametrize("name", ["unlabeled_X.bin", "test_y.bin"])
def test_a_damaged_or_missing_file_is_unpacked_again(
    server: stand_ins.Server, tmp_path: Path, name: str
) -> None:
    load(tmp_path)
    file = tmp_path / STL10.base_folder / name
    for damage in (lambda: file.write_bytes(b"damaged"), file.unlink):
        shutil.rmtree(tmp_path / "cache")
        damage()
        check(load(tmp_path), server)
    assert len(server.calls) == 1


def test_a_limit_keeps_the_share_of_the_labels(server: stand_ins.Server, tmp_path: Path) -> None:
    found = load(tmp_path, limit=35)
    assert len(found.train) == 35
    assert len(found.train.labelled_rows) in range(18, 23)  # 40 of 70
