"""The cache of images: whose file it is, and what is said of one that cannot be read."""

from __future__ import annotations

import os
import stat
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
    real = Path.open

    def refuse(self: Path, *args: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(self, *args, **options)

    sink = Lines()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
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
