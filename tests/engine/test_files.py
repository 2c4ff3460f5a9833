"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.files import open_new, open_plain, read_plain, reason, replace_file


def test_a_replacement_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    replace_file(path, b"old")

    def broken(*args: Any, **kwargs: Any) -> None:
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


def odd_files(folder: Path) -> dict[str, str]:
    """Makes one of each kind that is no plain file; gives the words for each."""
    (folder / "mine").write_bytes(b"mine")
    (folder / "link").symlink_to(folder / "mine")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "nowhere").symlink_to(folder / "missing")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    return {
        "link": "it is a link",
        "loop": "it is a link",
        "nowhere": "it is a link",
        "zero": "it is a link",
        "pipe": "pipe|plain file",
        "folder": "folder",
        "socket": "plain file",
    }


@pytest.mark.timeout(10)  # a pipe that is waited for would hang
def test_nothing_but_a_plain_file_is_opened_read_or_replaced(tmp_path: Path) -> None:
    for name, words in odd_files(tmp_path).items():
        path = tmp_path / name
        for act in (
            lambda path: open_plain(path, os.O_RDONLY),
            lambda path: open_plain(path, os.O_WRONLY | os.O_CREAT),
            lambda path: open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND),
            lambda path: read_plain(path, 1000),
            lambda path: replace_file(path, b"new"),
        ):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - its reason is looked at
                act(path)
            assert any(word in reason(caught.value) for word in words.split("|")), name
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "missing").exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_file_that_a_person_named_may_be_a_link_but_no_device(tmp_path: Path) -> None:
    odd_files(tmp_path)
    assert read_plain(tmp_path / "link", 1000, follow=True) == b"mine"
    with pytest.raises(OSError, match="device"):
        read_plain(tmp_path / "zero", 1000, follow=True)


def test_a_second_name_of_a_file_is_read_but_not_written(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    os.link(tmp_path / "mine", tmp_path / "other")
    assert read_plain(tmp_path / "other", 4) == b"mine"
    with pytest.raises(OSError, match="hard link"):
        open_plain(tmp_path / "other", os.O_RDWR)
    replace_file(tmp_path / "other", b"new")  # another file of that name: the first one stays
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_more_than_the_limit_is_refused_and_never_held(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_plain(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its reason is looked at
        read_plain(tmp_path / "a", 4)
    assert reason(caught.value) == "it has 5 bytes, more than the 4 that such a file may have"
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than"):
        read_plain(tmp_path / "holes", 1 << 20)


def test_a_linked_folder_is_read_but_not_written_unless_that_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = tmp_path / "link" / "a"
    for act in (
        lambda: replace_file(path, b"x"),
        lambda: open_plain(path, os.O_WRONLY | os.O_CREAT),
    ):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its reason is looked at
            act()
        assert reason(caught.value) == "it is a link"
    replace_file(path, b"x", follow_folder=True)
    assert read_plain(path, 10) == b"x"
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["a"]


def test_a_file_is_never_cut_before_it_was_looked_at(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="O_TRUNC"):
        open_plain(tmp_path / "a", os.O_WRONLY | os.O_TRUNC)
