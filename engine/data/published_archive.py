"""A data set that is published as a packed archive: its files, unpacked and checked one by one."""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from engine.data.published_file import (
    PublishedFile,
    check_content,
    fetch,
    open_published,
    unwritable,
)
from engine.errors import DataError
from engine.files import open_new, replace_file, write_all
from engine.sink import Sink, check_interrupt

_BLOCK = 1 << 20  # bytes unpacked at a time; a stop is noticed once a block


def unpack_files(
    archive: PublishedFile, folder: str, names: Collection[str], data_dir: Path, sink: Sink
) -> None:
    """Unpacks some files of an archive, which is downloaded first if it is not there.

    Each is whole or not at all, and never written through a link that somebody left there; no
    other member is unpacked, wherever it says that it belongs.

    Args:
        archive: as it is published.
        folder: of the files, in the archive and in ``data_dir``.
        names: of the files.
        data_dir: where the archive is, or is put.
        sink: receives the progress, and is asked whether to stop.

    Raises:
        DataError: without network, on a full disk, or when the archive is another one or damaged.
        Interrupted: when the sink asked to stop.
    """
    path = fetch(archive, data_dir, sink)
    stage = f"unpacking {archive.title}"
    sink.progress(stage, 0, len(names))
    done = 0
    with _opened(archive, path, sink) as tar:
        (data_dir / folder).mkdir(exist_ok=True)
        # File by file in place of extractall, so that a stop is noticed in between.
        for member in tar:
            check_interrupt(sink)
            inside, _, name = member.name.removeprefix("./").partition("/")
            source = tar.extractfile(member) if inside == folder and name in names else None
            if source is not None:
                target = data_dir / folder / name
                replace_file(target, _pieces(source, sink), follow_folder=True)
                done += 1
                sink.progress(stage, done, len(names))
    sink.progress(stage, len(names), len(names))


def unpack_tree(
    archive: PublishedFile, folder: str, count: int, data_dir: Path, sink: Sink
) -> None:
    """Unpacks an archive of many images in folders: all of it, or nothing.

    Args:
        archive: as it is published; downloaded first if it is not there.
        folder: that it holds, and that is made in ``data_dir``; there is none of this name yet.
        count: about how many files it has, for the progress.
        data_dir: where the archive is, or is put.
        sink: receives the progress, and is asked whether to stop.

    Raises:
        DataError: as of ``unpack_files``.
        Interrupted: when the sink asked to stop.
    """
    path = fetch(archive, data_dir, sink)
    stage = f"unpacking {archive.title}"
    part = data_dir / f".{folder}-{secrets.token_hex(4)}"
    try:
        with _opened(archive, path, sink) as tar:
            part.mkdir()
            for number, member in enumerate(tar):
                check_interrupt(sink)
                sink.progress(stage, min(number, count), count)
                places = Path(member.name.removeprefix("./")).parts
                source = tar.extractfile(member) if member.isfile() else None
                # Nothing that points elsewhere, whatever the archive says.
                if source is not None and places[:1] == (folder,) and ".." not in places:
                    target = part.joinpath(*places[1:])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _write(target, source, sink)
            part.rename(data_dir / folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sink.progress(stage, count, count)


@contextmanager
def _opened(archive: PublishedFile, path: Path, sink: Sink) -> Iterator[tarfile.TarFile]:
    """The archive, once its md5 was found right; what goes wrong inside is put into a sentence."""
    try:
        with open_published(path) as file:
            check_content(archive, path, file, sink)
            with tarfile.open(fileobj=file, mode="r:gz") as tar:
                yield tar
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); remove it.") from error
    except OSError as error:
        raise unwritable(archive.title, path.parent, error) from error


def _write(target: Path, source: IO[bytes], sink: Sink) -> None:
    fd = open_new(target)
    try:
        for piece in _pieces(source, sink):
            write_all(fd, piece)
    finally:
        os.close(fd)


def _pieces(source: IO[bytes], sink: Sink) -> Iterator[bytes]:
    while piece := source.read(_BLOCK):
        check_interrupt(sink)
        yield piece
