"""What is checked before ranks are started, and how their end is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.config.device_list import ALL
from engine.errors import ConfigError
from engine.runtime.rank_launch import resolved_devices

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=[0, 3])
def cards(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return int(request.param)


def test_all_are_the_cards_that_there_are(cards: int) -> None:
    if cards:
        assert resolved_devices((ALL,)) == ("cuda:0", "cuda:1", "cuda:2")
    else:
        with pytest.raises(ConfigError, match="torch sees no CUDA device here"):
            resolved_devices((ALL,))


def test_a_card_that_is_not_there_is_refused(cards: int) -> None:
    there = "only cuda:0 to cuda:2" if cards else "no CUDA device"
    with pytest.raises(ConfigError, match=f"names cuda:3, but torch sees {there} here"):
        resolved_devices(("cuda:3",))
    assert resolved_devices(("cpu", "cpu")) == ("cpu", "cpu")


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
