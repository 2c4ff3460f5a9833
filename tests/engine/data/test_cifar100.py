"""CIFAR-100: its images and fine labels, as its files have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.schema import DataConfig
from engine.data.dataset import load_dataset

from . import stand_ins


def test_images_and_fine_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = stand_ins.cifar100(monkeypatch)
    found = load_dataset(DataConfig(source="cifar100"), data_dir=tmp_path)
    assert found.test is not None
    for part, split in (("train", found.train), ("test", found.test)):
        assert (split.images.numpy() == server.images[part]).all()
        assert split.labels.tolist() == server.labels[part].tolist()
    assert len(found.class_names) == 100
