"""The real loader on small stand-in files of the same format; no network."""

import hashlib
import http.client
import io
import os
import pickle
import stat
import tarfile
import urllib.error
import urllib.request
from email.message import Message

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from engine import files
from engine.config.schema import DataConfig
from engine.data import published_file
from engine.data.dataset import load_dataset
from engine.errors import DataError
from engine.sink import Interrupted, NullSink

FOLDER = "cifar-10-batches-py"
NAME = "cifar-10-python.tar.gz"
PER_FILE = 20


class Listener(NullSink):
    def __init__(self, stop_after=None):
        self.stages, self.asked, self.stop_after = [], 0, stop_after

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))

    def request(self):
        self.asked += 1
        return "stop" if self.stop_after is not None and self.asked > self.stop_after else None


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def batch(seed):
    rng = np.random.default_rng(seed)
    return {
        "batch_label": f"batch {seed}",
        "labels": rng.integers(0, 10, PER_FILE).tolist(),
        "data": rng.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8),
        "filenames": [f"{i}.png" for i in range(PER_FILE)],
    }


def packed(files):
    """A gzipped tar of these files, as the one that is downloaded."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        folder = tarfile.TarInfo(FOLDER)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


class Response(io.BytesIO):
    """What urlopen gives; may break off with an error after some bytes."""

    def __init__(self, data, *, length=None, error=None, error_at=0):
        super().__init__(data)
        length = len(data) if length is None else length
        self.headers = {} if length < 0 else {"Content-Length": str(length)}
        self.error, self.error_at = error, error_at

    def read(self, size=-1):
        if self.error is not None and self.tell() >= self.error_at:
            raise self.error
        return super().read(size)


class StandIn:
    """The stand-in set and the server that has it."""

    def __init__(self):
        self.batches = {f"data_batch_{i}": batch(i) for i in range(1, 6)}
        self.batches["test_batch"] = batch(6)
        self.files = {name: pickle.dumps(value) for name, value in self.batches.items()}
        self.files["batches.meta"] = pickle.dumps({"label_names": [f"c{i}" for i in range(10)]})
        self.files["readme.html"] = b"<html></html>"
        self.archive = packed(self.files)
        self.answer = lambda: Response(self.archive)
        self.calls = []

    def urlopen(self, url, timeout=None):
        assert timeout is not None
        self.calls.append(url)
        answer = self.answer()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def server(monkeypatch):
    stand_in = StandIn()
    sums = {name: md5(data) for name, data in stand_in.files.items()}
    train = [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(stand_in.archive))
    monkeypatch.setattr(CIFAR10, "url", f"https://example.invalid/{NAME}")
    monkeypatch.setattr(urllib.request, "urlopen", stand_in.urlopen)
    monkeypatch.setattr(published_file, "_BLOCK", 4096)
    return stand_in


def load(data_dir, sink=None):
    return load_dataset(DataConfig(source="cifar10"), data_dir=data_dir, sink=sink)


def check(dataset, server):
    expected = np.concatenate([server.batches[f"data_batch_{i}"]["data"] for i in range(1, 6)])
    labels = [label for i in range(1, 6) for label in server.batches[f"data_batch_{i}"]["labels"]]
    assert (dataset.train.images.numpy() == expected.reshape(-1, 3, 32, 32)).all()
    assert dataset.train.labels.tolist() == labels
    test = server.batches["test_batch"]
    assert (dataset.test.images.numpy() == test["data"].reshape(-1, 3, 32, 32)).all()
    assert dataset.test.labels.tolist() == test["labels"]
    for split in (dataset.train, dataset.test):
        assert split.images.dtype == torch.uint8
        assert split.images.is_contiguous()
        assert split.labels.dtype == torch.int64


def refused(call):
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_download_with_progress_then_no_second_one(server, tmp_path):
    data_dir, sink = tmp_path / "new" / "data", Listener()
    old = os.umask(0o022)
    try:
        check(load(data_dir, sink), server)
    finally:
        os.umask(old)
    assert stat.S_IMODE((data_dir / NAME).stat().st_mode) == 0o644, "others may use it too"
    downloads = [(done, total) for stage, done, total in sink.stages if "downloading" in stage]
    assert len(downloads) > 5
    assert downloads == sorted(downloads)
    assert {total for _, total in downloads} == {len(server.archive)}
    assert downloads[-1][0] == len(server.archive)
    assert sorted(p.name for p in data_dir.iterdir()) == [FOLDER, NAME]
    check(load(data_dir), server)
    assert len(server.calls) == 1


def test_download_of_unknown_length(server, tmp_path):
    server.answer = lambda: Response(server.archive, length=-1)
    sink = Listener()
    check(load(tmp_path, sink), server)
    assert all(done <= total for _, done, total in sink.stages)


def test_an_archive_put_there_by_hand_needs_no_network(server, tmp_path):
    (tmp_path / NAME).write_bytes(server.archive)
    check(load(tmp_path), server)
    assert server.calls == []


def test_unpacked_files_need_neither_archive_nor_network(server, tmp_path):
    (tmp_path / FOLDER).mkdir()
    for name, data in server.files.items():
        (tmp_path / FOLDER / name).write_bytes(data)
    check(load(tmp_path), server)
    assert server.calls == []


# what the server does, and a part of the reason that is given
NO_NETWORK = {
    "(Temporary failure in name)": lambda: urllib.error.URLError(
        OSError(-3, "Temporary failure in name")
    ),
    "(Service Unavailable)": lambda: urllib.error.HTTPError(
        "u", 503, "Service Unavailable", Message(), None
    ),
    "(timed out)": lambda: TimeoutError("timed out"),
    "(no answer for long)": lambda: Response(b"x" * 9000, error=TimeoutError("no answer for long")),
    "(reset)": lambda: Response(b"x" * 9000, error=ConnectionResetError(104, "reset")),
    "SSH-2.0": lambda: http.client.BadStatusLine("SSH-2.0"),
    "IncompleteRead": lambda: Response(
        b"x" * 9000, length=-1, error=http.client.IncompleteRead(b""), error_at=8000
    ),
    "ended after 9000 of 10000 bytes": lambda: Response(b"x" * 9000, length=10_000),
    "not cifar-10-python.tar.gz": lambda: Response(b"<html>please log in to the hotel</html>"),
}


@pytest.mark.parametrize("why", NO_NETWORK)
def test_without_network_the_folder_and_the_shapes_are_named(server, tmp_path, why):
    server.answer = NO_NETWORK[why]
    message = refused(lambda: load(tmp_path / "data"))
    assert why in message
    assert "could not be downloaded" in message
    assert f"put {NAME} into {tmp_path}/data" in message
    assert "--data shapes" in message
    assert list((tmp_path / "data").iterdir()) == []
    server.answer = lambda: Response(server.archive)
    check(load(tmp_path / "data"), server)


def test_an_interrupted_download_leaves_nothing(server, tmp_path):
    sink = Listener(stop_after=3)
    with pytest.raises(Interrupted):
        load(tmp_path, sink)
    assert any("downloading" in stage for stage, _, _ in sink.stages)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_unpacking_is_made_good(server, tmp_path):
    (tmp_path / NAME).write_bytes(server.archive)
    with pytest.raises(Interrupted):
        load(tmp_path, Listener(stop_after=2))
    check(load(tmp_path), server)
    assert server.calls == []


def test_a_damaged_archive_is_named(server, tmp_path):
    (tmp_path / NAME).write_bytes(server.archive[:-1] + b"?")
    message = refused(lambda: load(tmp_path))
    assert f"{tmp_path}/{NAME} is damaged" in message
    assert "remove it" in message
    assert server.calls == []


@pytest.mark.parametrize("content", ["other files", "no archive", "cut off"])
def test_an_archive_that_holds_something_else(server, tmp_path, monkeypatch, content):
    data = {
        "other files": packed({"other": b"x"}),
        "no archive": b"no archive",
        "cut off": server.archive[: len(server.archive) // 2],
    }[content]
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(data))
    (tmp_path / NAME).write_bytes(data)
    message = refused(lambda: load(tmp_path))
    assert f"{tmp_path}/{NAME}" in message
    assert "remove it" in message


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.parametrize("archive_there", [True, False])
def test_a_damaged_or_missing_file_is_made_again(server, tmp_path, name, archive_there):
    load(tmp_path)
    server.calls.clear()
    if not archive_there:
        (tmp_path / NAME).unlink()
    (tmp_path / FOLDER / name).write_bytes(b"damaged")
    check(load(tmp_path), server)
    (tmp_path / FOLDER / name).unlink()
    check(load(tmp_path), server)
    assert len(server.calls) == (0 if archive_there else 1)


def test_a_place_that_cannot_be_written_to(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    message = refused(lambda: load(tmp_path / "file"))
    assert f"cannot be stored in {tmp_path}/file" in message
    assert "--data-dir" in message


def test_a_full_disk_is_not_blamed_on_the_network(server, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    opened = os.fdopen

    def full(handle, mode):
        opened(handle, mode).close()
        return Full()

    monkeypatch.setattr(os, "fdopen", full)
    message = refused(lambda: load(tmp_path))
    assert "the disk is full" in message
    assert "downloaded" not in message
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_the_folder_is_written(server, tmp_path, monkeypatch):
    """Members that point elsewhere are not unpacked, whatever the archive says."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, data in server.files.items():
            for path in (f"{FOLDER}/{name}", f"../evil-{name}", f"{FOLDER}/../../evil"):
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo(f"{FOLDER}/readme.html")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / NAME).write_bytes(archive.getvalue())
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.getvalue()))
    check(load(data_dir), server)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert not (data_dir / FOLDER / "readme.html").exists()


def test_a_link_in_place_of_a_file_is_not_written_through(server, tmp_path):
    """A folder of data sets may be shared: whoever writes to it could name a file of mine."""
    mine = tmp_path / "paper.tex"
    mine.write_bytes(b"mine")
    (tmp_path / "data" / FOLDER).mkdir(parents=True)
    (tmp_path / "data" / NAME).write_bytes(server.archive)
    (tmp_path / "data" / FOLDER / "data_batch_1").symlink_to(mine)
    message = refused(lambda: load(tmp_path / "data"))
    assert "it is a link" in message
    assert mine.read_bytes() == b"mine"


def test_an_archive_that_is_a_pipe_is_not_waited_for(server, tmp_path):
    os.mkfifo(tmp_path / NAME)
    assert "it is a pipe and no plain file" in refused(lambda: load(tmp_path))


def test_only_the_bytes_that_were_checked_are_unpickled(server, tmp_path, monkeypatch):
    """Between a check and a second look the file may have become another one."""
    load(tmp_path)
    read = []
    real = files.read_plain

    def swap(path, limit, **options):
        data = real(path, limit, **options)
        read.append(path.name)
        path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")  # at once after it was read
        return data

    monkeypatch.setattr(published_file, "read_plain", swap)
    check(load(tmp_path), server)
    assert sorted(read) == sorted(name for name in server.files if name != "readme.html")


def test_a_file_that_has_no_end_is_made_again_or_named(server, tmp_path):
    load(tmp_path)
    os.truncate(tmp_path / FOLDER / "data_batch_2", 1 << 40)
    check(load(tmp_path), server)
    (tmp_path / FOLDER / "data_batch_2").unlink()
    os.mkfifo(tmp_path / FOLDER / "data_batch_2")
    assert "it is a pipe" in refused(lambda: load(tmp_path))
