"""A file of a run that is a link, a pipe, a device or a folder: nothing hangs, nothing gets out."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.runs import RunFolder, own
from engine.runs.requests import write_request

from .conftest import Call, trained

NAMES = (
    "run.json",
    "user.json",
    "metrics.jsonl",
    "devices.jsonl",
    "checkpoint.pt",
    "log.txt",
    "heartbeat",
    "lock",
    "user.lock",
    ".reserve",
    "control",
)


def _socket(path: Path, mine: Path) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path.parent)  # the path of a socket has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


KINDS: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, mine: path.symlink_to(mine),
    "folder-link": lambda path, mine: path.symlink_to(mine.parent),
    "nowhere": lambda path, mine: path.symlink_to(mine.with_name("not-there")),
    "zero": lambda path, mine: path.symlink_to("/dev/zero"),
    "pipe": lambda path, mine: os.mkfifo(path),
    "socket": _socket,
    "folder": lambda path, mine: path.mkdir(),
    "hard-link": lambda path, mine: path.hardlink_to(mine),
}


def outside(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """What is in the folder of somebody's own files: bytes, rights and time of each."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def one_sentence(act: Callable[[], object]) -> None:
    """The act succeeds, or says in one line why it does not."""
    said = ""
    try:
        act()
    except RunError as error:
        said = str(error)
    assert "\n" not in said


def take_over(folder: RunFolder) -> None:
    """What every resume begins with, and all that a trainer writes."""
    with own(folder) as owner:
        owner.transition("running")
        owner.metrics(4, 0.4, {"train/loss": 9.0})
        owner.log("a line")
        owner.progress("training", 0, 1)
        owner.request()
        owner.flush()
        owner.transition("stopped")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "paper.tex").write_bytes(b"mine\n" * 1000)
    (folder / f"{1:020d}-1-abcdef.stop").write_bytes(b"looks like a request")
    return folder / "paper.tex"


@pytest.mark.timeout(60)  # hangs are found by it: nothing here takes a second
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_an_odd_file_hangs_nothing_and_leads_no_write_elsewhere(
    call: Call, root: Path, mine: Path, name: str, kind: str
) -> None:
    folder = trained(root, status="stopped")
    healthy = trained(root)
    path = folder.path / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    KINDS[kind](path, mine)
    before = outside(mine.parent)

    listed = call("runs")
    assert listed.code == 0
    assert all(id_ in listed.out for id_ in (folder.id, healthy.id))
    for args in (
        ("show", folder.id),
        ("show", folder.id, "--log"),
        ("watch", folder.id, "--json"),
        ("export", folder.id),
        ("compare", folder.id, healthy.id),
        ("tag", folder.id, "+x"),
        ("note", folder.id, "text"),
        ("stop", folder.id),
        ("resume", folder.id, "--detach") if name == "run.json" else ("runs",),
    ):
        called = call(*args)
        assert called.code in (0, 1, 2, 130), args  # 130: watch, of a run that was stopped
        if called.code:  # watch says of the few steps also that they did not fill the queue
            assert called.err.count("\n") <= (3 if args[0] == "watch" else 2), called.err
        assert "Traceback" not in called.err
    one_sentence(lambda: write_request(folder.control_path, "stop", str))
    one_sentence(lambda: take_over(folder))
    one_sentence(lambda: take_over(folder))
    called = call("delete", folder.id)
    assert called.code in (0, 2)
    assert "Traceback" not in called.err

    assert outside(mine.parent) == before
    assert not mine.with_name("not-there").exists()


def test_what_stands_in_the_place_of_the_requests_is_said(root: Path, mine: Path) -> None:
    folder = trained(root, status="stopped")
    folder.control_path.rmdir()
    folder.control_path.symlink_to(mine.parent)
    with pytest.raises(RunError, match=r"could not be left in .*: it is a link"):
        write_request(folder.control_path, "stop", str)
    assert folder.pending_requests() == []
    folder.control_path.unlink()
    folder.control_path.write_bytes(b"")
    with pytest.raises(RunError, match="a file stands where a folder should be"):
        write_request(folder.control_path, "stop", str)


def test_a_run_folder_that_is_a_link_is_looked_at_only(
    call: Call, root: Path, tmp_path: Path
) -> None:
    real = trained(tmp_path / "other", status="stopped")
    (root / real.id).symlink_to(real.path)
    before = outside_run(real.path)
    assert real.id in call("runs").out
    assert call("show", real.id).code == 0
    folder = RunFolder(root / real.id)
    with pytest.raises(RunError, match="it is a link"):
        take_over(folder)
    called = call("tag", real.id, "+x")
    assert (called.code, called.err.count("\n")) == (2, 1)
    assert "it is a link" in called.err
    assert outside_run(real.path) == before


def outside_run(path: Path) -> dict[str, tuple[bytes, int, int]]:
    found = {}
    for each in path.iterdir():
        if each.is_file():
            found[each.name] = (each.read_bytes(), each.stat().st_mode, each.stat().st_mtime_ns)
    return found


@pytest.mark.timeout(60)
@pytest.mark.parametrize("format_", ["csv", "json", "tensorboard"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_over_what_is_no_plain_file_is_one_sentence(
    call: Call, root: Path, tmp_path: Path, mine: Path, kind: str, format_: str
) -> None:
    if format_ == "tensorboard":
        pytest.importorskip("tensorboard")
    folder = trained(root)
    target = tmp_path / "out"
    KINDS[kind](target, mine)
    was = os.lstat(target)
    before = outside(mine.parent)
    called = call("export", folder.id, "--format", format_, "--out", str(target))
    if format_ == "tensorboard" and kind in ("folder", "folder-link"):
        assert called.code == 0  # event files are added to a folder that a person names
        return
    if kind == "hard-link" and format_ != "tensorboard":
        assert called.code == 0  # replaced: its other name keeps what it was
    else:
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
        assert any(
            words in called.err for words in ("it is a ", "a folder stands", "a file stands")
        ), called.err
        assert (os.lstat(target).st_ino, os.lstat(target).st_mode) == (was.st_ino, was.st_mode)
    below = call("export", folder.id, "--format", format_, "--out", str(target / "x" / "y"))
    if kind not in ("folder", "folder-link"):
        assert (below.code, below.err.count("\n")) == (2, 1)
        assert "a file stands where a folder should be" in below.err
        assert outside(mine.parent) == before
