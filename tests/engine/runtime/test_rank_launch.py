"""How the end of ranks is told, and that signals reach them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


LAUNCHER = """
import signal, sys
from engine.runtime.rank_launch import launch
code = launch(["-c", sys.argv[1]], 2)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
print("code", code)
"""
# Each rank writes its number once it has begun.
BEGUN = "import os, time, signal, sys; rank = int(os.environ['RANK']); os.write(1, b'begun\\n'); "


@pytest.mark.slow  # it imports torch for the launcher
@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("sys.exit(2)", 2),
        ("sys.exit(2) if rank else time.sleep(60)", 2),
        ("os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(60)", 1),
    ],
)
def test_the_code_is_that_of_the_rank_that_failed(program: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, BEGUN + program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == f"code {code}", done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_a_signal_reaches_the_ranks_and_a_second_one_ends_them() -> None:
    stubborn = "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'heard\\n')); "
    waiting = f"{stubborn}os.write(1, b'ready\\n'); [time.sleep(1) for _ in range(60)]"
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, BEGUN + waiting],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as launcher:
        assert launcher.stdout is not None
        lines: list[str] = []
        while lines.count("ready\n") < 2:
            lines.append(launcher.stdout.readline())
        os.kill(launcher.pid, signal.SIGTERM)
        while lines.count("heard\n") < 2:
            lines.append(launcher.stdout.readline())
        os.kill(launcher.pid, signal.SIGTERM)
        assert launcher.stdout.read().splitlines()[-1] == "code 130"
        assert launcher.wait(30) == 0
