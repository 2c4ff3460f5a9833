"""A run that is refused leaves nothing behind: neither a queued run nor half a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunError
from engine.runs import folder_names
from engine.runs.creation_order import NEWEST_NAME
from moco_tui.training import detached

from .conftest import Call, trained

SMALL = (
    *("--preset", "quick", "--set", "epochs=1", "--set", "stop_epoch=1", "--set", "batch_size=32"),
    *("--set", "threads=1", "--set", "queue_size=64"),
)


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A folder of images without classes."""
    from PIL import Image

    (tmp_path / "images").mkdir()
    for i in range(64):
        Image.new("RGB", (32, 32), (3 * i, 90, 200)).save(tmp_path / "images" / f"{i:02}.png")
    return f"folder:{tmp_path / 'images'}"


def left(root: Path) -> list[str]:
    """What is in the runs folder, hidden things and all, but for what is kept about all runs."""
    kept = ("history", NEWEST_NAME)
    return sorted(path.name for path in root.iterdir() if not path.name.startswith(kept))


@pytest.mark.parametrize(
    "args",
    [
        ("pretrain", *SMALL, "--data", "folder:/nonexistent"),
        ("pretrain", *SMALL, "--device", "mps"),
        ("pretrain", *SMALL, "--name", "latest"),
        ("study", "--preset", "quick-study", "--data", "folder:/nonexistent"),
        ("study", "--preset", "quick-study", "--name", "latest"),
        ("demo", "--no-app", "--device", "mps"),
    ],
    ids=lambda args: " ".join(args[:1] + args[-2:]),
)
def test_what_is_refused_leaves_no_run(call: Call, root: Path, args: tuple[str, ...]) -> None:
    called = call(*args)
    assert (called.code, called.out) == (2, "")
    assert called.err.strip().splitlines()[-1].startswith("moco-tui: ")
    assert left(root) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize("command", ["pretrain", "study", "demo"])
def test_without_file_locks_it_is_refused_before_anything_is_read(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch, command: str, number: int
) -> None:
    def refuse(fd: Any, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("there is nothing to wait for"))
    monkeypatch.setattr(
        "engine.jobs.prepare.prepare", lambda *args, **options: pytest.fail("it was prepared")
    )
    args = {"study": ("--preset", "quick-study"), "demo": ("--no-app",), "pretrain": SMALL}
    called = call(command, *args[command])
    assert (called.code, called.out) == (2, "")
    assert "has no file locks (flock)" in called.err.splitlines()[-1]
    assert "--runs-dir" in called.err
    assert left(root) == []


def test_a_probe_that_is_refused_leaves_no_run(call: Call, root: Path) -> None:
    parent = trained(root)  # without a checkpoint
    called = call("probe", parent.id)
    assert (called.code, called.out) == (2, "")
    assert "There is no checkpoint" in called.err
    assert folder_names(root) == [parent.id]


@pytest.mark.parametrize("option", ["--detach", "--json"])
def test_a_run_that_cannot_be_started_is_taken_back(
    call: Call, root: Path, images: str, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise RunError("No process can be started.")

    monkeypatch.setattr(detached, "start", refuse)
    monkeypatch.setattr("engine.jobs.execute.execute", refuse)
    called = call("pretrain", *SMALL, "--data", images, option)
    assert (called.code, called.out) == (2, "")
    assert "No process can be started." in called.err
    assert left(root) == []


def test_a_detached_process_that_ends_before_it_began_leaves_its_last_words(
    call: Call, root: Path, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Process:
        pid = -1

        def poll(self) -> int:
            return 1

    def start(*folders: Any, data_dir: Path, **options: Any) -> Process:
        folders[0].log_path.write_text("ImportError: libcudart.so.12\n")
        return Process()

    monkeypatch.setattr(detached, "start", start)
    called = call("pretrain", *SMALL, "--data", images, "--detach")
    assert called.code == 2
    (id_,) = folder_names(root)
    shown = call("show", id_, "--log", "5")
    assert "failed: The detached process for run" in shown.out
    assert "libcudart" in shown.out


def test_probe_latest_takes_a_pretraining_and_its_help_says_so(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = trained(root)
    parent.checkpoint_path.write_bytes(b"")
    trained(root)  # newer, and without a checkpoint
    asked: list[str] = []

    def prepare(*args: object, parent: str, **options: object) -> None:
        asked.append(parent)
        raise RunError("Enough.")

    monkeypatch.setattr("engine.jobs.prepare.prepare", prepare)
    assert call("probe", "latest").code == 2
    assert asked == [parent.id]
    assert "latest: the newest pretraining that has a checkpoint." in flat(call("probe", "-h").out)


@pytest.mark.parametrize(
    ("command", "meaning"),
    [
        ("study", "the newest study"),
        ("restore", "the run that was deleted last"),
        *[
            (command, "the run that was made last")
            for command in (
                *("show", "watch", "compare", "export", "tag", "note", "rename", "delete"),
                *("resume", "stop", "pause", "continue", "checkpoint"),
            )
        ],
    ],
)
def test_every_help_says_what_a_run_may_be(call: Call, command: str, meaning: str) -> None:
    wanted = f"RUN is an id, a name, the beginning of either, or latest: {meaning}."
    assert wanted in flat(call(command, "--help").out)


def flat(text: str) -> str:
    return " ".join(text.split())
