"""What the dry run says of memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.jobs.estimate import peak_memory

from ...environment import with_packages

BALLAST = 1_500_000_000
_HELD = f"ballast = bytearray(b'1') * {BALLAST}"
_SAY = """
import os, psutil
from engine.jobs.estimate import peak_memory
print(psutil.Process().memory_info().rss, peak_memory(os.getpid()))
"""


def measured(code: str) -> tuple[int, int]:
    """Memory that a process of its own holds after some code, and the most that it held."""
    held = f"{_HELD}\n{code}" if code else ""
    command = [sys.executable, "-c", held + _SAY]
    done = subprocess.run(command, env=with_packages(), capture_output=True, text=True, check=True)
    now, peak = map(int, done.stdout.split())
    return now, peak


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_a_process_does_not_count_what_its_parent_held() -> None:
    """As an estimate that is started from an app in which something large was trained."""
    ballast = bytearray(b"\1") * BALLAST
    held, peak = measured("")
    assert held <= peak < len(ballast)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_peak_outlives_what_was_given_back() -> None:
    held, peak = measured("del ballast")
    assert peak > BALLAST > held


def test_a_process_that_is_not_there_is_not_known() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert peak_memory(gone.pid) == 0
