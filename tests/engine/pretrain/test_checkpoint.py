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


def test_the_one_before_is_kept_and_taken_where_the_last_one_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2, 3):
        checkpoints.save(path, {"step": step})
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.previous.pt",
        "checkpoint.pt",
    ]
    state, notice = checkpoints.load_last(path)
    assert (state["step"], notice) == (3, "")
    path.write_bytes(path.read_bytes()[:-1])
    state, notice = checkpoints.load_last(path)
    assert state["step"] == 2
    assert notice == (
        f"The checkpoint {path} cannot be read: it is truncated or damaged. "
        "Going on from the one before it."
    )
    path.unlink()
    assert checkpoints.exists(path)
    state, notice = checkpoints.load_last(path)
    assert (state["step"], notice) == (2, "checkpoint.pt is gone; going on from the one before it")


def test_what_to_do_is_said_where_neither_can_be_used(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"x")
    with pytest.raises(RunError, match=r"damaged\. There is none before it .* begins again\.$"):
        checkpoints.load_last(path)
    checkpoints.previous(path).write_bytes(b"y")
    with pytest.raises(RunError, match=r"previous\.pt, cannot be used either; remove both"):
        checkpoints.load_last(path)
    assert path.read_bytes() == b"x"


def test_what_the_disk_changed_never_replaces_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    words = r"not what was written\); there is none before it\.$"
    real = os.write

    def lossy(fd: int, data: Any) -> int:
        return real(fd, bytes(data)[:-1] + b"?") if len(data) > 100 else real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lossy)
        with pytest.raises(RunError, match=words):
            checkpoints.save(path, {"step": 1})
    assert list(tmp_path.iterdir()) == []
    checkpoints.save(path, {"step": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lossy)
        with pytest.raises(RunError, match=r"the one before it is unharmed\.$"):
            checkpoints.save(path, {"step": 2})
    assert checkpoints.load(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_on_a_full_disk_the_previous_one_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"step": 1})
    checkpoints.save(path, {"step": 2})
    real = os.write

    def full(fd: int, data: Any) -> int:
        if checkpoints.previous(path).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        checkpoints.save(path, {"step": 3})
    assert checkpoints.load(path)["step"] == 3
    assert checkpoints.load(checkpoints.previous(path))["step"] == 2


def test_a_file_system_without_hard_links_has_no_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    checkpoints.save(path, {"step": 1})
    checkpoints.save(path, {"step": 2})
    assert checkpoints.load(path)["step"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_state_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"step": 1})
    with pytest.raises(RunError, match="holds something beside tensors"):
        checkpoints.save(path, {"step": 2, "model": {"x": {1, 2}}})
    assert checkpoints.load(path)["step"] == 1


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_no_plain_file_is_not_waited_for(what: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match=f"cannot be read: it is a {what}"):
        checkpoints.load(path)
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    checkpoints.save(linked / "checkpoint.pt", {"step": 1})  # a run on another disk
    assert checkpoints.load(linked / "checkpoint.pt")["step"] == 1


def test_a_file_of_any_size_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(RunError, match=r"it has 1,099,511,627,776 bytes, more than"):
        checkpoints.load(path)
