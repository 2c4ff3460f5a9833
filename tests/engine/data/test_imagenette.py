"""Imagenette: classes by their names, and a folder that is whole or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config.data.imagenette import BY_FOLDER
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, load_dataset
from engine.errors import DataError

from . import stand_ins


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> stand_ins.Server:
    return stand_ins.imagenette_images(monkeypatch)


def load(data_dir: Path) -> Dataset:
    return load_dataset(DataConfig(source="imagenette"), data_dir=data_dir)


def test_every_image_has_the_label_of_its_class(server: stand_ins.Server, tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found.test is not None
    assert (len(found.train), len(found.test)) == (30, 20)
    assert found.left_out == ""
    colours = {name: 20 * number for number, name in enumerate(BY_FOLDER.values())}
    for split in (found.train, found.test):
        red = split.images[:, 0].double().mean((1, 2))
        for value, label in zip(red.tolist(), split.labels.tolist(), strict=True):
            assert abs(value - colours[found.class_names[label]]) < 4  # JPEG


@pytest.mark.parametrize("damage", ["gone", "broken"])
def test_a_folder_that_is_not_whole_is_refused(
    server: stand_ins.Server, tmp_path: Path, damage: str
) -> None:
    load(tmp_path)
    root = tmp_path / "imagenette2-160"
    image = root / "train" / "n02979186" / "1.JPEG"
    image.unlink() if damage == "gone" else image.write_bytes(b"broken")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert f"{root} holds 49 of the 50 images of Imagenette" in str(caught.value)
    assert ("1.JPEG (not an image) cannot be read" in str(caught.value)) == (damage == "broken")
    assert str(caught.value).endswith("remove that folder, and it is unpacked again.")
