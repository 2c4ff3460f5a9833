"""Checkpoints on disk: for whom they are, and what is said of one that cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import RunError
from engine.pretrain import checkpoint as checkpoints


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_mode_of_a_checkpoint_follows_the_umask(tmp_path: Path, umask: int) -> None:
    """As that of the record beside it: who may read the one may use the other."""
    path = tmp_path / "checkpoint.pt"
    path.touch(mode=0o600)  # as version 0.1 left them
    old = os.umask(umask)
    try:
        checkpoints.save(path, {"step": 3, "tensor": torch.arange(3)})
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert checkpoints.load(path)["step"] == 3


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "permission is denied"), (errno.EIO, "the disk reports an error")],
)
def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"step": 3})
    real = os.open

    def refuse(name: Any, *args: Any, **options: Any) -> int:
        if name == path.name:
            raise OSError(number, os.strerror(number), str(path))
        return real(name, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunError) as caught:
        checkpoints.load(path)
    assert str(caught.value) == f"The checkpoint {path} cannot be read: {words}."


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_checkpoint_that_is_cut_short_is_called_so(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"step": 3, "tensor": torch.arange(300)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match="truncated or damaged"):
        checkpoints.load(path)


def test_a_folder_in_its_place_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read: a folder stands where"):
        checkpoints.load(tmp_path)
