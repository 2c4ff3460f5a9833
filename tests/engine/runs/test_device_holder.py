"""Who holds the lock of a device is read without touching the lock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from engine.runs.device_holder import holder_of, lock_path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCO_TUI_LOCKS", str(tmp_path))


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs the kernel's list of locks")
def test_the_holder_while_the_lock_is_held() -> None:
    path = lock_path("cuda-ab/1")
    assert path.name == "moco-tui-cuda-ab_1.lock"
    path.write_text("run k7m2qx\x1b[31m (process 7)")
    assert holder_of("cuda-ab/1") == "", "the file stays when its holder has ended"
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        listed = f":{path.stat().st_ino} " in Path("/proc/locks").read_text()
        if not listed:
            pytest.skip("this system does not list the locks of this process")
        holder = holder_of("cuda-ab/1")
        assert holder.startswith("run k7m2qx")
        assert "\x1b" not in holder
    finally:
        os.close(fd)
    assert holder_of("cuda-ab/1") == ""


def test_a_list_that_names_the_file(tmp_path: Path) -> None:
    path, locks = lock_path("mps"), tmp_path / "locks"
    path.write_text("")
    inode = path.stat().st_ino
    locks.write_text(f"1: POSIX  ADVISORY  WRITE 7 00:2c:{inode} 0 EOF\n")
    assert holder_of("mps", locks) == ""
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 7 00:2c:{inode} 0 EOF\n")
    assert holder_of("mps", locks) == "another trainer"


def test_what_the_system_does_not_tell_is_empty(tmp_path: Path) -> None:
    assert holder_of("cuda-none") == ""
    lock_path("mps").write_text("x")
    assert holder_of("mps", tmp_path / "no-list") == ""
