"""Locks that do not reach the other nodes of a cluster are named before anything is submitted."""

from __future__ import annotations

import fcntl
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from engine.errors import RunError
from engine.runs.shared_locks import check_shared_locks, mount_of


def mounted(monkeypatch: pytest.MonkeyPatch, path: Path, kind: str, options: str) -> None:
    parts = [
        SimpleNamespace(mountpoint="/", fstype="ext4", opts="rw,nolock"),  # not the one that counts
        SimpleNamespace(mountpoint=str(path.resolve()), fstype=kind, opts=options),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [
        ("nfs", "rw,vers=3,nolock,addr=10.0.0.1", "nolock"),
        ("nfs4", "rw,local_lock=flock", "local_lock=flock"),
        ("nfs", "rw,local_lock=all", "local_lock=all"),
        ("lustre", "rw,localflock", "localflock"),
    ],
)
def test_a_mount_whose_locks_stay_at_home_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, named: str
) -> None:
    mounted(monkeypatch, tmp_path, kind, options)
    with pytest.raises(RunError, match=f"{kind}, is mounted with {named}, so its locks do not"):
        check_shared_locks(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("options", ["rw,vers=4.2,local_lock=none", "rw,flock", ""])
def test_any_other_mount_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    mounted(monkeypatch, tmp_path, "nfs4", options)
    check_shared_locks(tmp_path)
    assert mount_of(tmp_path) == ("nfs4", tuple(options.split(",")))


def test_a_file_system_without_locks_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(fd: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(RunError, match=r"has no file locks \(flock\)"):
        check_shared_locks(tmp_path)


def test_what_is_not_known_of_mounts_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(psutil, "disk_partitions")
    check_shared_locks(tmp_path)
