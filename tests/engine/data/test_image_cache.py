"""The cache of images: whose file it is, and what is said of one that cannot be read."""

from __future__ import annotations

import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.image_cache import ImageArrays, cached
from engine.sink import NullSink


class Lines(NullSink):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


def images() -> ImageArrays:
    train = torch.arange(2 * 3 * 32 * 32, dtype=torch.int64).remainder(251).to(torch.uint8)
    return ImageArrays((train.reshape(2, 3, 32, 32), torch.tensor([0, 1])), None, ("a", "b"))


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_mode_of_a_cache_follows_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        cached(tmp_path / "cache" / "a.images", "key", NullSink(), images)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "cache" / "a.images").stat().st_mode) == 0o666 & ~umask


def test_a_cache_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.images"
    cached(path, "key", NullSink(), images)
    real = os.open

    def refuse(name: Any, *args: Any, **options: Any) -> int:
        if name == path.name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(name, *args, **options)

    sink = Lines()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        found = cached(path, "key", sink, images)
    assert torch.equal(found.train[0], images().train[0])
    assert sink.lines == [
        f"the image cache {path} cannot be read: permission is denied; it is made again"
    ]


def test_a_link_to_itself_in_its_place_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.images"
    path.symlink_to(path.name)
    sink = Lines()
    cached(path, "key", sink, images)
    assert "a link that leads back to itself" in sink.lines[0]
    cached(path, "key", NullSink(), lambda: pytest.fail("it was cached"))


def by_hand(path: Path, header: dict[str, Any], rest: bytes) -> None:
    """A cache file of such a header, with a right checksum."""
    plain = {"version": 3, "key": "key", "classes": ["a", "b"], "skipped": [], "foreign": 0}
    line = json.dumps(plain | {"first_foreign": "", "test": None} | header).encode() + b"\n"
    path.write_bytes(b"%08x\n" % zlib.crc32(line + rest) + line + rest)


ONE = bytes(3 * 32 * 32)


@pytest.mark.parametrize(
    ("header", "rest"),
    [
        ({"train": 1}, ONE + (7).to_bytes(8, "little")),  # a class that there is not
        ({"train": 1}, ONE + (-2).to_bytes(8, "little", signed=True)),
        ({"train": -1, "test": 2}, ONE + bytes(8)),
        ({"train": 3, "classes": []}, 3 * (ONE + bytes(8))),  # of two files
        ({"train": 1 << 62}, b""),
        ({"train": 1, "classes": "[" * 5}, ONE + bytes(8)),
    ],
)
def test_a_cache_made_by_hand_is_made_again(
    tmp_path: Path, header: dict[str, Any], rest: bytes
) -> None:
    path = tmp_path / "a.images"
    by_hand(path, header, rest)
    sink = Lines()
    found = cached(path, "key", sink, images, most=2)
    assert torch.equal(found.train[1], images().train[1])
    assert sink.lines == [f"the image cache {path} is damaged; it is made again"]


def test_a_size_that_is_only_claimed_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.images"
    count = 1 << 24  # 48 GiB, in a file that is all hole
    by_hand(path, {"train": count}, b"")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + count * (len(ONE) + 8))
    sink = Lines()
    cached(path, "key", sink, images, most=2)
    assert sink.lines == [f"the image cache {path} is damaged; it is made again"]


def test_text_of_a_cache_is_clean(tmp_path: Path) -> None:
    path = tmp_path / "a.images"
    text = "\x1b]0;x\x07cat"
    header = {"train": 1, "classes": [text, "b"], "skipped": [text], "first_foreign": text}
    by_hand(path, header, ONE + bytes(8))
    found = cached(path, "key", Lines(), images, most=2)
    assert len(found.train[0]) == 1
    for shown in (*found.class_names, *found.skipped, found.first_foreign):
        assert shown.isprintable()


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.images"
    os.mkfifo(path)
    sink = Lines()
    cached(path, "key", sink, images, most=2)
    assert "it is a pipe and no plain file; it is made again" in sink.lines[0]
