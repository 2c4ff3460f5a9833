"""Shared by the tests of run folders."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create, heartbeat, owner, owner_thread
from engine.runs.heartbeat import Heartbeat
from engine.runs.record import encode_record
from tests.hand_clock import Clock

Child = Callable[..., subprocess.Popen[str]]


REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return create(tmp_path, "pretrain", PretrainConfig())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A monotonic clock for the polls of requests."""
    clock = Clock()
    monkeypatch.setattr(owner, "_monotonic", clock)
    monkeypatch.setattr(owner_thread, "_monotonic", clock)
    monkeypatch.setattr(heartbeat, "_monotonic", clock)
    return clock


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python process with the run's path; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, run: RunFolder, *args: str, **options: Any) -> subprocess.Popen[str]:
        head = "import sys, time\nfrom pathlib import Path\nfrom engine.runs import *\n"
        process: subprocess.Popen[str] = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{head}run = RunFolder(Path(sys.argv[1]))\n{code}",
                run.path,
                *args,
            ],
            cwd=REPOSITORY,  # the first entry of its path, before what the caller has
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def remote_life(run: RunFolder, age: float = 0.0) -> None:
    """As if the box ``far`` trained the run on a file system that shares no locks."""
    record = run.record()
    record.status, record.host, record.pid = "running", "far", 5
    run.record_path.write_bytes(encode_record(record))
    life = Heartbeat(host="far", pid=5, boot_id="b", time=time.time() - age)
    run.heartbeat_path.write_bytes(msgspec.json.encode(life))
    at = time.time() - age
    os.utime(run.heartbeat_path, (at, at))
