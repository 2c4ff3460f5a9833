import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.config.data import cifar10
from engine.config.data.shapes import CLASSES
from engine.config.schema import DataConfig
from engine.data import shapes
from engine.data.dataset import (
    Dataset,
    Split,
    channel_statistics,
    holdout_split,
    limited,
    load_dataset,
)
from engine.errors import DataError
from engine.sink import Interrupted, NullSink


@pytest.fixture
def few_shapes(monkeypatch):
    monkeypatch.setattr(shapes, "TRAIN_IMAGES", 230)
    monkeypatch.setattr(shapes, "TEST_IMAGES", 50)


@pytest.fixture
def folder(tmp_path):
    """25 cats, 10 dogs and 5 emus to train on; each image has a red value of its own."""
    for part, counts in {"train": (25, 10, 5), "test": (2, 2, 2)}.items():
        for number, (name, count) in enumerate(zip(("cat", "dog", "emu"), counts, strict=True)):
            place = tmp_path / "pets" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (32, 32), (50 * number + i, 0, 0)).save(place / f"{i:02}.png")
    return tmp_path / "pets"


def held_out(dataset: Dataset) -> Split:
    """The test images of a data set that has some."""
    assert dataset.test is not None
    return dataset.test


# ------------------------------------------------------------------------------------- sources


def test_shapes(few_shapes, tmp_path):
    dataset = load_dataset(DataConfig(source="shapes"), data_dir=tmp_path / "data")
    assert dataset.name == "shapes"
    assert dataset.class_names == CLASSES == tuple(sorted(CLASSES))
    test = held_out(dataset)
    assert (len(dataset.train), len(test)) == (230, 50)
    for split in (dataset.train, test):
        assert split.images.dtype == torch.uint8
        assert split.images.shape[1:] == (3, 32, 32)
        assert split.images.is_contiguous()
        assert split.labels.dtype == torch.int64
        assert split.labelled
    again = load_dataset(DataConfig(source="shapes"), data_dir=tmp_path)
    assert torch.equal(again.train.images, dataset.train.images)
    assert torch.equal(held_out(again).images, test.images)
    assert not torch.equal(dataset.train.images[:50], test.images)
    assert not (tmp_path / "data").exists()  # nothing to download, nothing to cache


def test_a_folder(folder, tmp_path):
    source = f"folder:{folder}"
    dataset = load_dataset(DataConfig(source=source), data_dir=tmp_path / "data")
    assert dataset.name == source
    assert dataset.class_names == ("cat", "dog", "emu")
    assert dataset.train.labels.bincount().tolist() == [25, 10, 5]
    assert dataset.train.images[30, 0].eq(55).all()
    assert held_out(dataset).labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.skipped == ()


def test_a_folder_of_the_home_directory(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset = load_dataset(DataConfig(source="folder:~/pets"), data_dir=tmp_path / "data")
    assert len(dataset.train) == 40
    with pytest.raises(DataError, match="nobody-of-that-name"):
        load_dataset(DataConfig(source="folder:~nobody-of-that-name/x"), data_dir=tmp_path)


def test_names_of_cifar10():
    # in the order of the labels in its files (https://www.cs.toronto.edu/~kriz/cifar.html)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    assert " ".join(cifar10.CLASSES) == names


def test_a_folder_without_classes_has_no_labels(folder, tmp_path):
    config = DataConfig(source=f"folder:{folder}/train/cat")
    dataset = load_dataset(config, data_dir=tmp_path / "data")
    assert not dataset.train.labelled
    assert dataset.class_names == ()
    assert dataset.test is None
    limit = DataConfig(source=config.source, limit=7)
    assert len(load_dataset(limit, data_dir=tmp_path / "data").train) == 7


def test_stop_reaches_every_source(few_shapes, folder, tmp_path):
    class Stopping(NullSink):
        def request(self):
            return "stop"

    for source in ("shapes", f"folder:{folder}"):
        with pytest.raises(Interrupted):
            load_dataset(DataConfig(source=source), data_dir=tmp_path / "d", sink=Stopping())


def test_split_without_images_has_no_labels():
    nothing = Split(
        torch.zeros((0, 3, 32, 32), dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    )
    assert len(nothing) == 0
    assert not nothing.labelled
    assert Dataset("x", nothing, None, ()).skipped == ()


# --------------------------------------------------------------------------------------- limit


def test_limit_takes_the_right_images_and_leaves_the_test_set(folder, tmp_path):
    source, data_dir = f"folder:{folder}", tmp_path / "data"
    full = load_dataset(DataConfig(source=source), data_dir=data_dir)
    part = load_dataset(DataConfig(source=source, limit=8), data_dir=data_dir)
    assert part.train.labels.bincount().tolist() == [5, 2, 1]
    assert part.train.images.is_contiguous()
    for image, label in zip(part.train.images, part.train.labels, strict=True):
        assert image[0, 0, 0] // 50 == label
    assert len(held_out(part)) == len(held_out(full))
    assert part.class_names == full.class_names
    assert len(load_dataset(DataConfig(source=source, limit=39), data_dir=data_dir).train) == 39
    for limit in (0, 40, 1000):
        same = load_dataset(DataConfig(source=source, limit=limit), data_dir=data_dir)
        assert torch.equal(same.train.images, full.train.images)


some_labels = st.lists(st.integers(-1, 5), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(some_labels, st.data())
def test_limit_is_stratified_nested_and_repeatable(values, data):
    labels = torch.tensor(values)
    n = len(labels)
    limit = data.draw(st.integers(1, n))
    rows = limited(labels, limit)
    assert len(rows) == limit
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(rows, limited(labels, limit))
    assert set(rows.tolist()) <= set(limited(labels, data.draw(st.integers(limit, n))).tolist())
    # one share t of every class, each rounded: count within half an image of t * size
    bounds = []
    for label in set(values):
        size, count = values.count(label), int((labels[rows] == label).sum())
        bounds.append(((count - 0.5) / size, (count + 0.5) / size))
    assert max(low for low, _ in bounds) <= min(high for _, high in bounds) + 1e-9


def test_limit_draws_at_random_from_each_class():
    labels = torch.arange(1000) % 2
    rows = limited(labels, 100)
    assert (labels[rows] == 0).sum() == 50
    assert rows.max() > 800  # not the first ones
    gaps = rows[1:] - rows[:-1]
    assert len(set(gaps.tolist())) > 10  # nor every tenth


# ------------------------------------------------------------------------------------- holdout


@settings(max_examples=60, deadline=None)
@given(some_labels, st.floats(0.001, 0.999), st.integers(0, 2**31 - 1))
def test_holdout_is_stratified_disjoint_complete_and_repeatable(values, fraction, seed):
    labels = torch.tensor(values)
    bank, held = holdout_split(labels, fraction, seed)
    labelled = [row for row, label in enumerate(values) if label >= 0]
    assert sorted(bank.tolist() + held.tolist()) == labelled
    assert bank.tolist() == sorted(bank.tolist())
    assert held.tolist() == sorted(held.tolist())
    for label in set(values) - {-1}:
        size = values.count(label)
        expected = min(max(round(size * fraction), 1), size - 1)
        assert int((labels[held] == label).sum()) == expected
    again = holdout_split(labels, fraction, seed)
    assert torch.equal(again[0], bank)
    assert torch.equal(again[1], held)


def test_every_image_is_withheld_under_some_seeds_equally_often():
    labels = torch.arange(60) % 3
    seeds = 400
    counts = torch.zeros(60)
    for seed in range(seeds):
        counts[holdout_split(labels, 0.25, seed)[1]] += 1
    expected, deviation = seeds * 0.25, (seeds * 0.25 * 0.75) ** 0.5
    assert (counts - expected).abs().max() < 4.5 * deviation


def test_limit_and_holdout_leave_the_default_generator_alone():
    before = torch.get_rng_state()
    limited(torch.arange(100) % 3, 10)
    holdout_split(torch.arange(100) % 3, 0.1, 0)
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------- statistics


@pytest.mark.parametrize("n", [1, 5, 700])
def test_statistics_are_those_of_numpy_in_float64(n):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 3, 32, 32), generator=g, dtype=torch.uint8)
    images[:, 1] //= 9
    images[:, 2] = 255 - images[:, 2] // 50
    mean, std = channel_statistics(images)
    values = images.numpy().astype(np.float64) / 255.0
    np.testing.assert_allclose(mean.numpy(), values.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(std.numpy(), values.std(axis=(0, 2, 3)), rtol=1e-6)
    assert mean.dtype == std.dtype == torch.float32
    assert mean.shape == std.shape == (3,)


def test_a_channel_of_one_value_can_be_divided_by_its_deviation():
    images = torch.full((3, 3, 32, 32), 200, dtype=torch.uint8)
    mean, std = channel_statistics(images)
    assert torch.allclose(mean, torch.full((3,), 200 / 255))
    assert torch.allclose(std, torch.full((3,), 1 / 255))
