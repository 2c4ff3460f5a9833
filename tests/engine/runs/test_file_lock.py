"""Locks between processes: kept, or refused at once where a file system has none."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunBusyError, RunError
from engine.runs import file_lock
from engine.runs.file_lock import FileLock, check_locks, locks_work, open_lock

NO_FLOCK = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]


@pytest.fixture(params=NO_FLOCK, ids=lambda number: errno.errorcode[number])
def no_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock, as NFS without its lock daemon or some FUSE ones are."""

    def refuse(fd: Any, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    def sleep(seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(file_lock, "file_system", lambda path: "nfs4")


@pytest.mark.usefixtures("no_flock")
def test_a_file_system_without_locks_is_refused_at_once_by_its_name(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    for _ in range(2):  # the second time nothing is remembered that would let it through
        with (
            pytest.raises(RunError, match=r"file system of .*, nfs4, has no file locks") as caught,
            lock.held(3600.0),
        ):
            raise AssertionError("it went on without a lock")
        assert not isinstance(caught.value, RunBusyError)
        assert "--runs-dir" in str(caught.value)
    with pytest.raises(RunError, match=r"has no file locks \(flock\)"):
        check_locks(tmp_path / "not" / "yet")
    assert {path.name for path in tmp_path.iterdir()} <= {"a.lock"}, "no marker file stays"


def test_a_file_system_that_grants_a_lock_twice_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert locks_work(tmp_path)
    check_locks(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    assert not locks_work(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_held_keeps_others_out_and_its_own_thread_in(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lock, other = FileLock(path), FileLock(path)
    refused: list[bool] = []

    def try_both() -> None:
        for each in (lock, other):
            try:
                with each.held(0.0):
                    refused.append(False)
            except RunBusyError:
                refused.append(True)

    with lock.held(0.0):
        with lock.held(0.0):
            pass
        thread = threading.Thread(target=try_both)
        thread.start()
        thread.join()
        assert refused == [True, True]
    with other.held(0.0):
        pass


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o000, 0o666), (0o002, 0o660), (0o022, 0o600), (0o077, 0o600)]
)
def test_a_lock_file_can_be_opened_by_those_alone_who_may_write_it(
    tmp_path: Path, umask: int, mode: int
) -> None:
    """Whoever can open it, for reading alone too, can hold its lock."""
    (tmp_path / "old.lock").touch(0o644)  # as an earlier version made it
    old = os.umask(umask)
    try:
        with FileLock(tmp_path / "a.lock").held(0.0), FileLock(tmp_path / "old.lock").held(0.0):
            pass
        os.close(open_lock(tmp_path / "b.lock"))
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"a.lock": mode, "b.lock": mode, "old.lock": 0o600}


def test_a_fork_while_a_lock_is_held_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    read, write = os.pipe()
    with FileLock(path).held(0.0):
        child = os.fork()
        if not child:
            os.read(read, 1)
            os._exit(0)
    with FileLock(path).held(0.0):
        pass
    os.write(write, b"x")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


def test_a_lock_file_that_was_removed_keeps_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lock = FileLock(path)
    with lock.held(0.0):
        path.unlink()
        with FileLock(path).held(0.0), pytest.raises(RunBusyError), FileLock(path).held(0.0):
            pass
    with lock.held(0.0):
        pass


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(RunError, match=r"a\.lock cannot be written"),
        FileLock(tmp_path / "file" / "a.lock").held(0.0),
    ):
        pass


def test_the_file_system_of_a_path_is_known(tmp_path: Path) -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    assert file_lock.file_system(tmp_path) in {fields[2] for fields in mounts}
