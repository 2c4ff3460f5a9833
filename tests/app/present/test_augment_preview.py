"""The pictures of the preview: which images, and views by the engine's own augmentations."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from engine.config.augment.blur import BlurConfig
from engine.config.augment.color_jitter import ColorJitterConfig
from engine.config.augment.crop import CropConfig
from engine.config.augment.rotation import RotationConfig
from engine.config.schema import AugmentConfig
from engine.errors import DataError
from moco_tui.present.augment_preview import COUNT, Previewer, PreviewRequest

COLOURS = {"cat": (250, 0, 0), "dog": (0, 250, 0), "ship": (0, 0, 250)}


def preview_request(
    source: str, *, seed: int = 0, pixels: int = 32, degrees: float = 90.0
) -> PreviewRequest:
    return PreviewRequest(
        source, AugmentConfig(rotation=RotationConfig(degrees=degrees)), pixels, seed
    )


def first_pixel(picture: bytes) -> tuple[int, ...]:
    return tuple(picture[:3])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two plain images of each of three classes, of several kinds and sizes."""
    for name, colour in COLOURS.items():
        folder = tmp_path / "pictures" / "train" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (50, 40), colour).save(folder / "1.png")
        Image.new("RGB", (32, 32), colour).save(folder / "2.JPG", quality=95)
        (folder / "0-broken.png").write_bytes(b"no image")
        (folder / "notes.txt").write_text("no image either")
    return tmp_path / "pictures"


def test_a_folder_shows_its_classes_in_turn_and_skips_what_is_no_image(
    pictures: Path, tmp_path: Path
) -> None:
    rows = Previewer(tmp_path).views(preview_request(f"folder:{pictures}"))
    assert len(rows) == COUNT
    for (image, *_), colour in zip(rows, [*COLOURS.values()] * 2, strict=True):
        assert first_pixel(image) == pytest.approx(colour, abs=4)
        assert len(image) == 3 * 32 * 32


def test_the_images_stay_when_the_folder_vanishes_and_another_source_says_so(
    pictures: Path, tmp_path: Path
) -> None:
    previewer = Previewer(tmp_path)
    before = previewer.views(preview_request(f"folder:{pictures}"))
    pictures.rename(tmp_path / "elsewhere")
    assert previewer.views(preview_request(f"folder:{pictures}")) == before, "they are in memory"
    with pytest.raises(DataError, match="There is no folder"):
        Previewer(tmp_path).views(preview_request(f"folder:{pictures}"))


@pytest.mark.parametrize("content", ["nothing", "a text", "a broken image"])
def test_a_folder_without_images_says_so(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    if content != "nothing":
        (folder / ("a.txt" if content == "a text" else "a.png")).write_text("x")
    with pytest.raises(DataError, match="no images"):
        Previewer(tmp_path).views(preview_request(f"folder:{folder}"))


def test_another_seed_or_setting_gives_other_views_and_torchs_own_generator_is_left_alone() -> None:
    previewer = Previewer(Path("nowhere"))
    state = torch.get_rng_state()
    one, again = (
        previewer.views(preview_request("shapes")),
        previewer.views(preview_request("shapes")),
    )
    other, angle = (
        previewer.views(preview_request("shapes", seed=1)),
        previewer.views(preview_request("shapes", degrees=5)),
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert one == again
    for rows in (other, angle):
        assert [row[0] for row in rows] == [row[0] for row in one]
        assert all(row[1:] != same[1:] for row, same in zip(rows, one, strict=True))
    assert all(first != second for _, first, second in one), "two views are drawn apart"


def test_views_without_augmentations_are_the_images() -> None:
    off = AugmentConfig(
        crop=CropConfig(enabled=False),
        rotation=RotationConfig(enabled=False),
        blur=BlurConfig(enabled=False),
        color_jitter=ColorJitterConfig(enabled=False),
    )
    for image, *views in Previewer(Path("nowhere")).views(PreviewRequest("shapes", off, 32)):
        assert views == [image, image]


def test_small_pictures_are_means_of_large_ones() -> None:
    large = Previewer(Path("nowhere")).views(preview_request("shapes"))
    small = Previewer(Path("nowhere")).views(preview_request("shapes", pixels=8))
    for (image, *_), (tiny, *_) in zip(large, small, strict=True):
        assert len(tiny) == 3 * 8 * 8
        means = [np.frombuffer(data, np.uint8).mean() for data in (image, tiny)]
        assert means[0] == pytest.approx(means[1], abs=6)


def test_whole_pictures_have_the_size_of_the_images() -> None:
    request = preview_request("shapes", pixels=8)
    rows = Previewer(Path("nowhere")).views(replace(request, whole=True))
    assert rows == Previewer(Path("nowhere")).views(preview_request("shapes", pixels=32))
    assert {len(picture) for row in rows for picture in row} == {3 * 32 * 32}


def test_cifar10_that_was_never_downloaded_is_not_fetched_for_a_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a preview went to the network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(DataError, match="not downloaded yet"):
        Previewer(tmp_path).views(preview_request("cifar10"))


def test_cifar10_shows_its_first_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    data = np.random.default_rng(0).integers(0, 256, (8, 3072), dtype=np.uint8)
    files = {
        "data_batch_1": {"data": data, "labels": [0] * 8},
        "test_batch": {"data": data, "labels": [0] * 8},
        "batches.meta": {"label_names": ["a"]},
    }
    sums = {}
    for name, value in files.items():
        packed = pickle.dumps(value)
        (folder / name).write_bytes(packed)
        sums[name] = hashlib.md5(packed, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    rows = Previewer(tmp_path).views(preview_request("cifar10"))
    expected = data[:COUNT].reshape(-1, 3, 1024).transpose(0, 2, 1)  # pixel by pixel
    assert [row[0] for row in rows] == [bytes(image.flatten()) for image in expected]
    (folder / "data_batch_1").write_bytes(b"damaged")
    with pytest.raises(DataError, match="not downloaded yet"):
        Previewer(tmp_path).views(preview_request("cifar10"))
