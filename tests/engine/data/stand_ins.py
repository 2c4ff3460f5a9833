"""Small stand-ins of published data sets: files of the same format, and a server that has them.

The md5s that the loaders check against are set to those of the stand-ins, so nothing is skipped.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR100, STL10, SVHN, Imagenette

from engine.config.data.cifar100 import CLASSES
from engine.config.data.imagenette import BY_FOLDER
from engine.data import imagenette


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def packed(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar of these files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


class Response(io.BytesIO):
    """What urlopen gives."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(len(data))}


class Server:
    """Has the files of a set, by the last part of their addresses.

    Attributes:
        files: what it has.
        images, labels: of each part of the set, as a reader should find them: uint8 (N, 3, H, W)
            and whole numbers (N,).
        calls: the addresses that were asked for.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: dict[str, bytes] = {}
        self.images: dict[str, NDArray[np.uint8]] = {}
        self.labels: dict[str, NDArray[np.int64]] = {}
        self.calls: list[str] = []
        monkeypatch.setattr(urllib.request, "urlopen", self._urlopen)

    def _urlopen(self, url: str, timeout: float | None = None) -> Response:
        assert timeout is not None
        self.calls.append(url)
        return Response(self.files[url.rpartition("/")[2]])

    def put(self, folder: Path, name: str = "") -> None:
        """Puts its files, or one of them, into a folder, as a person does who has them already."""
        folder.mkdir(parents=True, exist_ok=True)
        for found in [name] if name else self.files:
            (folder / found).write_bytes(self.files[found])

    def draw(self, part: str, count: int, size: int, classes: int) -> None:
        """Random images and labels; every class comes equally often."""
        rng = np.random.default_rng(len(part) + 7 * count)
        self.images[part] = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
        self.labels[part] = rng.permutation(np.arange(count) % classes).astype(np.int64)


def cifar100(monkeypatch: pytest.MonkeyPatch, train: int = 200, test: int = 100) -> Server:
    server = Server(monkeypatch)
    files = {}
    for part, count in (("train", train), ("test", test)):
        server.draw(part, count, 32, 100)
        batch = {
            "data": server.images[part].reshape(count, -1),
            "fine_labels": server.labels[part].tolist(),
            "coarse_labels": [0] * count,
        }
        files[part] = pickle.dumps(batch)
    files["meta"] = pickle.dumps({"fine_label_names": list(CLASSES)})
    monkeypatch.setattr(CIFAR100, "train_list", [["train", md5(files["train"])]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", md5(files["test"])]])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": md5(files["meta"])}
    monkeypatch.setattr(CIFAR100, "meta", meta)
    inside = {f"{CIFAR100.base_folder}/{name}": data for name, data in files.items()}
    server.files = {CIFAR100.filename: packed(inside)}
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5(server.files[CIFAR100.filename]))
    return server


def columns(images: NDArray[np.uint8]) -> bytes:
    """Images as MATLAB has them: column by column, not row by row."""
    return np.ascontiguousarray(images.transpose(0, 1, 3, 2)).tobytes()


def stl10(monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int, int] = (40, 30, 20)) -> Server:
    """The numbers are those of labelled, unlabelled and test images."""
    server = Server(monkeypatch)
    for part, count in zip(("train", "unlabeled", "test"), counts, strict=True):
        server.draw(part, count, 96, 10)
    files = {f"{part}_X.bin": columns(images) for part, images in server.images.items()}
    for part in ("train", "test"):
        files[f"{part}_y.bin"] = (server.labels[part] + 1).astype(np.uint8).tobytes()
    files["class_names.txt"] = b"airplane\n"
    for list_ in ("train_list", "test_list"):
        known = [[name, md5(files[name])] for name, _ in getattr(STL10, list_)]
        monkeypatch.setattr(STL10, list_, known)
    inside = {f"{STL10.base_folder}/{name}": data for name, data in files.items()}
    server.files = {STL10.filename: packed(inside)}
    monkeypatch.setattr(STL10, "tgz_md5", md5(server.files[STL10.filename]))
    return server


def svhn(monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int, int] = (60, 20, 30)) -> Server:
    """The numbers are those of training, test and extra images."""
    server = Server(monkeypatch)
    listed = {}
    for part, count in zip(("train", "test", "extra"), counts, strict=True):
        server.draw(part, count, 32, 10)
        labels = np.where(server.labels[part] == 0, 10, server.labels[part]).astype(np.uint8)
        file = io.BytesIO()
        arrays: dict[str, Any] = {
            "X": server.images[part].transpose(2, 3, 1, 0),  # (32, 32, 3, N)
            "y": labels[:, None],
        }
        scipy.io.savemat(file, arrays, do_compression=True)
        url, name, _ = SVHN.split_list[part]
        server.files[name] = file.getvalue()
        listed[part] = [url, name, md5(file.getvalue())]
    monkeypatch.setattr(SVHN, "split_list", listed)
    return server


def imagenette_images(monkeypatch: pytest.MonkeyPatch, train: int = 3, test: int = 2) -> Server:
    """JPEG files of one colour for each class, 160 pixels on the short side."""
    server = Server(monkeypatch)
    files = {"imagenette2-160/noisy_imagenette.csv": b"path"}
    for number, folder in enumerate(BY_FOLDER):
        for part, count in (("train", train), ("val", test)):
            for image in range(count):
                made = io.BytesIO()
                Image.new("RGB", (213, 160), (20 * number, 10 * image, 90)).save(made, "JPEG")
                files[f"imagenette2-160/{part}/{folder}/{image}.JPEG"] = made.getvalue()
    name = "imagenette2-160.tgz"
    server.files = {name: packed(files)}
    url = Imagenette._ARCHIVES["160px"][0]
    archives = {**Imagenette._ARCHIVES, "160px": (url, md5(server.files[name]))}
    monkeypatch.setattr(Imagenette, "_ARCHIVES", archives)
    monkeypatch.setattr(imagenette, "_IMAGES", len(BY_FOLDER) * (train + test))
    return server


SETS: Mapping[str, Callable[[pytest.MonkeyPatch], Server]] = {
    "cifar100": cifar100,
    "stl10": stl10,
    "svhn": svhn,
    "imagenette": imagenette_images,
}
"""What makes the stand-in of each set."""
