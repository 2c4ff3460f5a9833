"""Features with labels, classes and files, as three formats hold them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.config.data.imagenette import BY_FOLDER
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, Split
from engine.data.file_names import file_names
from engine.exchange.encoder_export import ExportPlace, export_encoder
from engine.exchange.imported_run import import_encoder
from engine.jobs.surroundings import gather
from engine.jobs.trained_encoder import load_encoder
from engine.runs.data_identity import DataIdentity

from ..data import stand_ins
from .conftest import MakeRun
from .foreign_states import net

TRAIN = [f"train/{name}/{n}.png" for name in ("=cat", "dog") for n in range(6)]
TRAIN.remove("train/dog/2.png")  # the broken one
TEST = [f"test/{name}/{n}.png" for name in ("=cat", "dog") for n in range(3)]


@pytest.mark.parametrize("limit", [0, 5])
def test_every_format_holds_the_features_that_the_encoder_gives_of_the_files(
    make_run: MakeRun, pictures: Path, tmp_path: Path, limit: int
) -> None:
    run = make_run(data__source=f"folder:{pictures}", data__limit=limit)
    trained = load_encoder(run)

    @torch.no_grad()
    def oracle(files: list[str]) -> NDArray[np.float32]:
        images = np.stack([np.asarray(Image.open(pictures / f)) for f in files]) / 255.0
        x = (images - trained.mean.numpy()) / trained.std.numpy()
        found = trained.encoder.backbone(torch.tensor(x.transpose(0, 3, 1, 2)).float())
        return np.asarray(found.numpy(), dtype=np.float32)

    def write(suffix: str) -> Path:
        target = tmp_path / f"x{suffix}"
        place = ExportPlace(target, False, tmp_path / "data", device="cpu")
        return export_encoder(run, "features", place)[0]

    table = np.load(write(".npz"))
    source = f"folder:{pictures}"
    # The run that this stands for never saw its data, so how many images those are is not known.
    assert (str(table["about_data"]), str(table["about_train_images"])) == (source, "0")
    assert str(table["about_features_of"]) == source
    train = table["train_files"].tolist()
    assert train == TRAIN if not limit else len(train) == limit and set(train) < set(TRAIN)
    assert table["test_files"].tolist() == TEST
    assert table["class_names"].tolist() == ["=cat", "dog"]
    assert table["train_labels"].tolist() == [int("dog" in name) for name in train]
    both = np.concatenate([oracle(train), oracle(TEST)])
    found = np.concatenate([table["train_features"], table["test_features"]])
    np.testing.assert_allclose(found, both, rtol=1e-4, atol=1e-5)

    with write(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [*train, *TEST]
    assert {row["class"] for row in rows} == {"'=cat", "dog"}, "no formula for a spreadsheet"
    assert [row["split"] for row in rows] == ["train"] * len(train) + ["test"] * 6
    numbers = [[float(row[f"f{n}"]) for n in range(512)] for row in rows]
    assert np.array_equal(np.array(numbers, dtype=np.float32), found)

    parquet = pytest.importorskip("pyarrow.parquet")
    columns = parquet.read_table(write(".parquet")).to_pydict()
    assert columns["file"] == [*train, *TEST]
    assert columns["class"] == [row["class"].lstrip("'") for row in rows]
    assert np.array_equal(np.array(columns["features"], dtype=np.float32), found)


TRAINED_ON = DataIdentity(train=28, classes=4, train_images="a", train_labels="b")


def card_rows(path: Path) -> dict[str, str]:
    """The rows of the first table of a card, unescaped."""
    rows = [line[2:-2].split(" | ") for line in path.read_text().splitlines() if line[:2] == "| "]
    return {row[0]: row[1].replace("\\", "") for row in rows if len(row) == 2}


def test_the_card_of_features_names_the_data_of_the_training_and_those_of_the_features(
    make_run: MakeRun, pictures: Path, tmp_path: Path
) -> None:
    run = make_run(data__source="shapes", seen=TRAINED_ON)
    trained = load_encoder(run)
    place = ExportPlace(
        tmp_path / "x.npz", False, tmp_path / "data", f"folder:{pictures}", "cpu", "moco-tui export"
    )
    path, card = export_encoder(run, "features", place)
    rows = card_rows(card)
    assert rows["trained on"] == "shapes, 28 images"
    assert rows["features of"] == f"folder:{pictures}, 11 training and 6 test images"
    mean, std = ([float(f"{v:.9g}") for v in x.tolist()] for x in (trained.mean, trained.std))
    assert rows["normalisation"] == f"mean {mean}, std {std} of the channels in 0 to 1"
    assert rows["images"] == "RGB, 32x32 pixels"
    assert rows["command"] == "moco-tui export"
    assert rows["commit"].startswith(gather({}).values.get("program.commit", "not known"))
    assert "| kNN on withheld training images |  | 41.25 % |" in card.read_text()
    table = np.load(path)
    about = {name: str(table[f"about_{name}"]) for name in ("data", "train_images", "features_of")}
    assert about == {"data": "shapes", "train_images": "28", "features_of": f"folder:{pictures}"}
    assert str(table["about_features_train_images"]) == "11"
    assert str(table["about_classes"]) == '["=cat", "dog"]'


def test_the_card_of_an_imports_features_says_whose_statistics_normalise_them(
    root: Path, pictures: Path, tmp_path: Path
) -> None:
    torch.save(net("cifar").state_dict(), tmp_path / "w.pt")
    run = import_encoder(root, tmp_path / "w.pt", "resnet18")  # probed on cifar10, never seen
    source = f"folder:{pictures}"
    place = ExportPlace(tmp_path / "x.npz", False, tmp_path / "data", source, "cpu")
    path, card = export_encoder(run, "features", place)
    rows = card_rows(card)
    assert rows["trained on"] == "not known: the encoder came from elsewhere"
    assert rows["features of"] == f"{source}, 11 training and 6 test images"
    images = np.stack([np.asarray(Image.open(pictures / name)) for name in TRAIN]) / 255.0
    told = re.fullmatch(
        rf"mean (\[.*\]), std (\[.*\]) of the channels in 0 to 1, those of the training images of "
        rf"{re.escape(source)}",
        rows["normalisation"],
    )
    assert told
    np.testing.assert_allclose(json.loads(told[1]), images.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(json.loads(told[2]), images.std((0, 1, 2)), atol=1e-6)
    assert "about_data" not in np.load(path)
    assert "Nothing was measured of this encoder." in card.read_text()


def test_features_of_imagenette_have_the_names_of_its_files(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.imagenette_images(monkeypatch)
    run = make_run()
    place = ExportPlace(tmp_path / "x.npz", False, tmp_path / "data", "imagenette", "cpu")
    table = np.load(export_encoder(run, "features", place)[0])
    for part, folder, count in (("train", "train", 3), ("test", "val", 2)):
        files = table[f"{part}_files"].tolist()
        assert files == [f"{folder}/{c}/{n}.JPEG" for c in sorted(BY_FOLDER) for n in range(count)]
        # Each row is of the class that its file lies in.
        names = table["class_names"][table[f"{part}_labels"]].tolist()
        assert names == [BY_FOLDER[name.split("/")[1]] for name in files]


def test_features_of_drawn_images_have_no_files(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)
    dataset = Dataset("shapes", Split(images, torch.zeros(4, dtype=torch.int64)), None, ("a",))
    assert file_names(DataConfig(source="shapes"), dataset, tmp_path) == ((), ())
