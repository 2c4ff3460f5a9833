"""What all published data sets promise: a download once, right bytes only, one sentence else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.config.data import DATA_SETS
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, load_dataset
from engine.errors import DataError
from engine.sink import Interrupted, NullSink, Request

from . import stand_ins


class Listener(NullSink):
    def __init__(self, stop_after: int = 0) -> None:
        self.stages: list[str] = []
        self.asked, self.stop_after = 0, stop_after

    def progress(self, stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        self.stages.append(stage)

    def request(self) -> Request | None:
        self.asked += 1
        return "stop" if self.stop_after and self.asked > self.stop_after else None


@pytest.fixture(params=stand_ins.SETS)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(source: str, monkeypatch: pytest.MonkeyPatch) -> stand_ins.Server:
    return stand_ins.SETS[source](monkeypatch)


def load(source: str, data_dir: Path, sink: NullSink | None = None, size: int = 0) -> Dataset:
    return load_dataset(DataConfig(source=source, image_size=size), data_dir=data_dir, sink=sink)


def refused(source: str, data_dir: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(source, data_dir)
    return str(caught.value)


def same(one: Dataset, other: Dataset) -> bool:
    return one.identity == other.identity


def test_it_is_downloaded_once_with_its_progress(
    source: str, server: stand_ins.Server, tmp_path: Path
) -> None:
    sink = Listener()
    first = load(source, tmp_path / "data", sink)
    title = DATA_SETS[source].title
    assert f"downloading {title}" in sink.stages
    calls = len(server.calls)
    assert calls == len([name for name in server.files if "extra" not in name])
    assert same(first, load(source, tmp_path / "data"))
    assert len(server.calls) == calls
    assert first.class_names == DATA_SETS[source].class_names
    size = DATA_SETS[source].image_size
    assert first.test is not None
    for split in (first.train, first.test):
        assert split.images.shape[1:] == (3, size, size)
        assert split.images.dtype == torch.uint8
        assert split.images.is_contiguous()
        assert split.labels.dtype == torch.int64


def test_files_put_there_by_hand_need_no_network(
    source: str, server: stand_ins.Server, tmp_path: Path
) -> None:
    server.put(tmp_path)
    load(source, tmp_path)
    assert server.calls == []


def test_without_network_it_says_what_to_put_where(
    source: str, server: stand_ins.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(-3, "Temporary failure in name resolution")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    said = refused(source, tmp_path / "data")
    names = [name for name in server.files if f"put {name} into {tmp_path}/data" in said]
    assert len(names) == 1
    assert f"{DATA_SETS[source].title} could not be downloaded (Temporary failure" in said


def test_a_damaged_file_is_named(source: str, server: stand_ins.Server, tmp_path: Path) -> None:
    server.put(tmp_path)
    name = next(iter(server.files))
    (tmp_path / name).write_bytes(server.files[name][:-1] + b"?")
    said = refused(source, tmp_path)
    assert said.startswith(f"{tmp_path}/{name} is damaged (its md5 is not ")
    assert said.endswith("remove it, and it is downloaded again.")
    assert server.calls == []


def test_the_archive_of_another_set_is_called_so(
    source: str, server: stand_ins.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each set's file under the name of another one."""
    name = next(iter(server.files))
    other = "svhn" if source != "svhn" else "stl10"
    server.put(tmp_path)
    theirs = stand_ins.SETS[other](monkeypatch)
    (tmp_path / name).write_bytes(next(iter(theirs.files.values())))
    title, its = DATA_SETS[source].title, DATA_SETS[other].title
    said = refused(source, tmp_path)
    assert said.startswith(f"{tmp_path}/{name} is ")
    assert f"of {its}, and no file of {title} of this name" in said


def test_a_pipe_in_its_place_is_not_waited_for(
    source: str, server: stand_ins.Server, tmp_path: Path
) -> None:
    for name in server.files:
        os.mkfifo(tmp_path / name)
    assert "it is a pipe and no plain file" in refused(source, tmp_path)


def test_a_stop_at_any_moment_leaves_what_can_be_gone_on_with(
    source: str, server: stand_ins.Server, tmp_path: Path
) -> None:
    whole = Listener()
    expected = load(source, tmp_path / "whole", whole)
    for after in sorted({1, whole.asked // 3, whole.asked // 2, whole.asked - 1}):
        folder = tmp_path / str(after)
        with pytest.raises(Interrupted):
            load(source, folder, Listener(after))
        assert [path.name for path in folder.glob(".*")] == []
        assert same(load(source, folder), expected)


def test_nothing_outside_of_the_folder_is_written(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that point elsewhere are not unpacked, whatever the archive says."""
    real = stand_ins.packed

    def with_others(files: dict[str, bytes]) -> bytes:
        folder = next(iter(files)).partition("/")[0]
        wrong = {"../evil": b"x", f"{folder}/../../evil": b"x", f"{folder}/../evil": b"x"}
        return real({**files, **wrong})

    monkeypatch.setattr(stand_ins, "packed", with_others)
    stand_ins.SETS[source](monkeypatch).put(tmp_path / "inside" / "data")
    load(source, tmp_path / "inside" / "data")
    assert not list(tmp_path.rglob("evil"))


def test_a_preview_takes_a_few_images_and_downloads_nothing(
    source: str, server: stand_ins.Server, tmp_path: Path
) -> None:
    part = DATA_SETS[source]
    module, _, name = part.sample.partition(":")
    sample = getattr(__import__(module, fromlist=[name]), name)

    def taken() -> Tensor:
        found: Tensor = sample("", tmp_path, 2, *([48] if part.decodes else []))
        return found

    with pytest.raises(DataError, match="is not downloaded yet"):
        taken()
    load(source, tmp_path)
    size = 48 if part.decodes else 32
    assert taken().shape == (2, 3, size, size)
    assert len(server.calls) == len([name for name in server.files if "extra" not in name])


@pytest.mark.parametrize("size", [48, 200])
def test_another_size_is_made_once(
    source: str, server: stand_ins.Server, tmp_path: Path, size: int
) -> None:
    found = load(source, tmp_path, size=size)
    assert found.train.images.shape[1:] == (3, size, size)
    own = load(source, tmp_path)
    assert torch.equal(found.train.labels, own.train.labels)
    assert own.train.images.shape[-1] == DATA_SETS[source].image_size
    # as photographs would be resized: averaged where they become smaller
    mean, theirs = (each.train.images.double().mean((2, 3)) for each in (found, own))
    assert torch.allclose(mean, theirs, atol=4.0)
    sink = Listener()
    assert same(load(source, tmp_path, sink, size), found)
    assert "resizing images" not in sink.stages
