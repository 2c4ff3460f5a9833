"""Files of others: what is read, and that nothing in them runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import DamagedFileError, RunError
from engine.exchange.foreign_file import read_foreign

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([1.0, 2.0])}


class Command:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["", "state_dict", "model"])
def test_a_state_dict_is_found_bare_and_in_a_dict(tmp_path: Path, zipped: bool, name: str) -> None:
    path = tmp_path / "x.pth.tar"
    state = STATE if not name else {name: STATE, "epoch": 3, "optimizer": {"state": {0: STATE}}}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    found = read_foreign(path).tensors
    assert set(found) == set(STATE)
    assert all(torch.equal(found[key], value) for key, value in STATE.items())


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle 2", "pickle 4"])
def test_nothing_in_a_pickle_runs(tmp_path: Path, kind: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "x.pt"
    evil = {"state_dict": STATE, "more": Command(marker)}
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(evil, int(kind[-1])))
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(RunError) as refused:
        read_foreign(path)
    assert not marker.exists()
    assert str(refused.value).count("\n") == 0
    # The file is what it claims to be: who loads it without a look makes the folder.
    if kind.startswith("pickle"):
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_a_sentence_wherever_it_ends(tmp_path: Path, zipped: bool) -> None:
    whole, path = tmp_path / "whole.pt", tmp_path / "x.pt"
    torch.save(STATE, whole, _use_new_zipfile_serialization=zipped)
    data = whole.read_bytes()
    for end in {0, 1, 2, 30, *range(60, len(data), 97), len(data) - 1}:
        path.write_bytes(data[:end])
        with pytest.raises(RunError):
            read_foreign(path)


def test_what_is_no_file_of_weights_is_a_sentence(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("weights")
    os.mkfifo(tmp_path / "pipe")
    for name, words in {
        "tensor.pt": "holds no weights by name",
        "none.pt": "holds no weights by name",
        "text.pt": "written neither by torch.save nor by safetensors",
        "pipe": "cannot be read: it is a pipe",
        "gone.pt": "cannot be read: it is gone",
        ".": "cannot be read: a folder",
    }.items():
        with pytest.raises(RunError, match=words):
            read_foreign(tmp_path / name)


def test_safetensors_are_read_with_their_texts_and_refused_when_cut(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    path = tmp_path / "x.safetensors"
    library.save_file(STATE, path, metadata={"format": "pt"})
    found = read_foreign(path)
    assert all(torch.equal(found.tensors[key], value) for key, value in STATE.items())
    assert found.metadata == {"format": "pt"}
    data = path.read_bytes()
    for end in (5, 40, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(DamagedFileError, match="truncated or damaged"):
            read_foreign(path)
