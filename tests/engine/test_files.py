"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.files import open_new, replace_file


def test_a_replacement_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    replace_file(path, b"old")

    def broken(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write", "fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, broken)
            with pytest.raises(OSError, match="No space"):
                replace_file(path, b"new")
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
        assert path.read_bytes() == b"old"
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def test_readers_see_the_old_or_the_new_file_and_nothing_between(tmp_path: Path) -> None:
    path = tmp_path / "a"
    texts = [bytes([65 + i]) * 100_000 for i in range(8)]
    replace_file(path, texts[0])
    odd: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            data = path.read_bytes()
            if data not in texts:
                odd.append(len(data))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(20):
        for text in texts:
            replace_file(path, text)
    stop.set()
    thread.join()
    assert odd == []


def test_parts_are_written_in_order(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", b"head ", memoryview(b"and body"), b"")
    assert (tmp_path / "a").read_bytes() == b"head and body"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_the_mode_of_a_new_file_follows_the_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "again").touch(mode=0o600)
    old = os.umask(umask)
    try:
        replace_file(tmp_path / "new", b"")
        replace_file(tmp_path / "again", b"")
        os.close(open_new(tmp_path / "opened"))
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}


def test_only_a_durable_file_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    replace_file(tmp_path / "a", b"x", durable=False)
    assert synced == []
    replace_file(tmp_path / "a", b"y")
    assert len(synced) == 2  # the file, then the folder that holds its name
