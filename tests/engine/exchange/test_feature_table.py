"""Features with labels, classes and files, as three formats hold them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from engine.exchange.encoder_export import ExportPlace, export_encoder
from engine.jobs.trained_encoder import load_encoder

from .conftest import MakeRun

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
