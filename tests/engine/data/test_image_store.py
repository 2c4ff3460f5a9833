"""Images in memory and in a file: the same, in the same order; nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.data import image_cache, image_store
from engine.data.image_store import ImageStore, mapped_images
from engine.errors import DataError
from engine.sink import NullSink

from ...benchmarks import memory_limit


def some(count: int, size: int = 40) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)


@pytest.mark.parametrize("fits", [True, False])
def test_images_come_out_as_they_were_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    monkeypatch.setattr(image_store, "fits_into_memory", lambda amount: fits)
    store = ImageStore(12, 40, tmp_path / "cache")
    parts = [some(5), some(1), some(4).transpose(0, 1, 3, 2)]  # one that lies otherwise
    for part in parts:
        store.add(part)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = store.images()
    assert (found.numpy() == np.concatenate(parts)).all()
    assert found.is_contiguous()
    assert store.in_memory == fits
    assert not list(tmp_path.rglob("*.*")), "a file that has a name is left when one is killed"


def test_a_map_may_begin_anywhere_in_a_file(tmp_path: Path) -> None:
    images = some(30)
    (tmp_path / "file").write_bytes(b"x" * 5001 + images.tobytes() + b"behind")
    with (tmp_path / "file").open("rb") as file:
        found = mapped_images(file.fileno(), 5001, 30, 40)
        none = mapped_images(file.fileno(), 5001, 0, 40)
    (tmp_path / "file").unlink()
    assert (found.numpy() == images).all()
    assert none.shape == (0, 3, 40, 40)


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "fits_into_memory", lambda amount: False)
    store = ImageStore(3, 40, tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DataError, match=r"the disk is full; --data-dir names another place"):
        store.add(some(1))


def test_a_place_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "fits_into_memory", lambda amount: False)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be kept in"):
        ImageStore(3, 40, tmp_path / "file" / "cache")


# 24,000 images of 64 pixels, 295 MB, are drawn into a cache, known again and trained on.
TRAINING = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch
from engine.data import memory_share
from engine.data.dataset import Dataset, Split
from engine.data.image_cache import ImageArrays, cached
from engine.data.image_store import ImageStore
from engine.pretrain.pretraining import Pretraining
from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.runtime.device import Runtime
from engine.sink import NullSink

COUNT, SIZE, FOLDER = 24_000, 64, Path(sys.argv[1])
memory_share.free_memory = lambda: float(sys.argv[2])
config = build(PretrainConfig, {
    "data.source": "folder:/x", "data.image_size": SIZE, "model.dim": 8, "model.bn_splits": 2,
    "moco.queue_size": 16, "optim.batch_size": 8,
})
runtime = Runtime(torch.device("cpu"), "cpu", bfloat16=False, threads=1)
torch.set_num_threads(1)

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

def make():
    store = ImageStore(COUNT, SIZE, FOLDER)
    rng = np.random.default_rng(0)
    for _ in range(0, COUNT, 500):
        store.add(rng.integers(0, 256, (500, 3, SIZE, SIZE), dtype=np.uint8))
    return ImageArrays((store.images(), torch.arange(COUNT) % 2), None, ("a", "b"))

few = torch.zeros(64, 3, SIZE, SIZE, dtype=torch.uint8)
warm = Pretraining(config, few, runtime)  # what torch takes once, whatever the images
warm.advance()
warm.close()
began = most = anonymous()
done = False
def watch():
    global most
    while not done:
        most = max(most, anonymous())
        time.sleep(0.005)
watcher = threading.Thread(target=watch)
watcher.start()
for _ in range(2):  # made, then found again
    found = cached(FOLDER / "x.images", "key", NullSink(), make, size=SIZE)
    dataset = Dataset("x", Split(*found.train), None, found.class_names)
    training = Pretraining(config, dataset.train.images, runtime)
    losses = [float(training.advance()) for _ in range(3)]
    training.close()
    print(dataset.identity.train_images, losses)
done = True
watcher.join()
print(most - began, COUNT * 3 * SIZE * SIZE)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what is the file's")
def test_images_of_many_times_the_memory_are_trained_on(tmp_path: Path) -> None:
    """What the process itself holds stays far below the images; with memory it does not."""

    def run(free: int, folder: str) -> tuple[list[str], int, int]:
        (tmp_path / folder).mkdir()
        told = subprocess.run(
            [sys.executable, "-c", TRAINING, str(tmp_path / folder), str(free)],
            capture_output=True, text=True, timeout=280, check=True,
        )  # fmt: skip
        *lines, sizes = told.stdout.splitlines()
        taken, whole = map(int, sizes.split())
        return lines, taken, whole

    small, taken, whole = run(20 << 20, "small")
    assert whole > 10 * (20 << 20)
    assert taken < whole / 2
    large, taken, whole = run(1 << 40, "large")
    assert taken > 0.9 * whole
    assert small == large, "the same images, the same steps"
    assert len(set(small)) == 1, "made and found again"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts what Linux counts")
@pytest.mark.timeout(600)
def test_a_set_of_twice_the_memory_trains_where_the_system_gives_no_more() -> None:
    """Images that are kept in memory all the same are refused, in one sentence."""
    found = memory_limit.measured(96)
    mapped, memory = found["mapped"], found["memory"]
    assert mapped["set"] == memory["set"] == 2 * mapped["limit"] == 12_000 * 3 * 96 * 96
    assert "error" not in mapped
    assert mapped["peak"] <= mapped["limit"]
    assert np.isfinite(mapped["losses"]).all()
    assert len(mapped["losses"]) == 3
    assert 0 < mapped["knn"] < 100
    assert memory["error"] == (
        "The images take 316 MiB, and memory ran out; data.limit or data.image_size makes them "
        "fewer or smaller."
    )


def test_a_damaged_cache_that_is_mapped_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (image_store, image_cache):
        monkeypatch.setattr(module, "fits_into_memory", lambda amount: False)
    made = 0

    def make() -> image_cache.ImageArrays:
        nonlocal made
        made += 1
        store = ImageStore(9, 40, tmp_path)
        store.add(some(9))
        images, labels = store.images(), torch.arange(9) % 3
        return image_cache.ImageArrays(
            (images[:6], labels[:6]), (images[6:], labels[6:]), ("a", "b", "c")
        )

    def taken() -> image_cache.ImageArrays:
        return image_cache.cached(tmp_path / "x.images", "key", NullSink(), make, size=40)

    for _ in range(2):
        found = taken()
        assert found.test is not None
        both = torch.cat([found.train[0], found.test[0]])
        assert (both.numpy() == some(9)).all()
        assert found.train[1].tolist() + found.test[1].tolist() == [0, 1, 2] * 3
    assert made == 1
    data = bytearray((tmp_path / "x.images").read_bytes())
    data[-20_000] ^= 1
    (tmp_path / "x.images").write_bytes(data)
    assert (taken().train[0].numpy() == some(9)[:6]).all()
    assert made == 2
