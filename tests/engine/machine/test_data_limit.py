"""The limit of a process itself, as the kernel counts it."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from engine.data.memory_share import free_memory
from engine.machine import data_limit
from engine.machine.data_limit import data_left, data_used

from ...environment import with_packages

# Takes 64 MiB more, then maps a file of 256 MiB, under a limit of 128 MiB more than it has.
CHILD = """
import mmap, resource, sys, tempfile
from engine.machine.data_limit import data_left, data_used
assert data_left() == float("inf")
resource.setrlimit(resource.RLIMIT_DATA, (data_used() + (128 << 20), -1))
before = data_left()
kept = bytearray(64 << 20)
after = data_left()
with tempfile.TemporaryFile() as file:
    file.truncate(256 << 20)
    room = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
mapped = data_left()
try:
    bytearray(int(mapped) + (8 << 20))
    refused = False
except MemoryError:
    refused = True
bytearray(int(mapped) - (8 << 20))
print(before, after, mapped, refused)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_it_is_what_the_system_refuses_more_of(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=with_packages(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    *numbers, refused = done.stdout.split()
    before, after, mapped = (float(number) / 2**20 for number in numbers)
    assert before == pytest.approx(128, abs=4)
    assert before - after == pytest.approx(64, abs=4)
    assert mapped == pytest.approx(after, abs=4), "a file that is only read does not count"
    assert refused == "True"


@pytest.mark.parametrize(("status", "used"), [("VmData:\t     700 kB\n", 700 << 10), ("x\n", 0)])
def test_images_get_what_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, used: int
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"Name:\tpython\n{status}Threads:\t3\n")
    assert data_used(tmp_path) == used
    assert data_left(tmp_path) == math.inf
    monkeypatch.setattr(data_limit, "data_limit", lambda: float(1000 << 10))
    assert data_left(tmp_path) == free_memory(tmp_path) == (1000 << 10) - used
    monkeypatch.setattr(data_limit, "data_limit", lambda: 10.0)
    assert data_left(tmp_path) == max(0.0, 10.0 - used)
