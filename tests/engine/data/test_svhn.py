"""SVHN: its images, the digit 0, and the extra images behind the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import SVHN

from engine.config.schema import DataConfig
from engine.data.dataset import load_dataset
from engine.errors import DataError

from . import stand_ins


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> stand_ins.Server:
    return stand_ins.svhn(monkeypatch)


def test_images_and_digits_are_those_that_torchvision_reads(
    server: stand_ins.Server, tmp_path: Path
) -> None:
    found = load_dataset(DataConfig(source="svhn"), data_dir=tmp_path)
    assert found.test is not None
    for part, split in (("train", found.train), ("test", found.test)):
        theirs = SVHN(tmp_path, split=part)
        assert (split.images.numpy() == theirs.data).all()
        assert split.labels.tolist() == theirs.labels.tolist()
        assert (split.images.numpy() == server.images[part]).all()
    assert set(found.train.labels.tolist()) == set(range(10))
    assert sorted(path.name for path in tmp_path.glob("*.mat")) == [
        "test_32x32.mat",
        "train_32x32.mat",
    ]


def test_the_extra_images_come_behind(server: stand_ins.Server, tmp_path: Path) -> None:
    found = load_dataset(DataConfig(source="svhn-extra"), data_dir=tmp_path)
    expected = np.concatenate([server.images["train"], server.images["extra"]])
    assert (found.train.images.numpy() == expected).all()
    labels = [*server.labels["train"], *server.labels["extra"]]
    assert found.train.labels.tolist() == labels
    assert found.test is not None
    assert (found.test.images.numpy() == server.images["test"]).all()


def test_a_file_with_the_right_md5_that_holds_something_else(
    server: stand_ins.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a defect of the program can bring it about; it is no traceback all the same."""
    for data, why in (
        (b"no such file" * 40, "it is no MAT file of level 5"),
        (server.files["train_32x32.mat"][:-200], "it holds no images X and labels y"),
    ):
        url, name, _ = SVHN.split_list["train"]
        listed = {**SVHN.split_list, "train": [url, name, stand_ins.md5(data)]}
        monkeypatch.setattr(SVHN, "split_list", listed)
        server.put(tmp_path)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=why) as caught:
            load_dataset(DataConfig(source="svhn"), data_dir=tmp_path)
        assert f"{tmp_path}/{name} is damaged" in str(caught.value)
