"""A program has its time and its environment, no shell, and leaves nothing behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from moco_tui.notify.limited_process import run_limited

PYTHON = sys.executable


def test_it_gets_arguments_and_environment_as_they_are_and_no_shell(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[1:], sorted(os.environ), os.getcwd(), sys.stdin.read())"
    arguments = ["$HOME; touch x", "a b", "*"]
    environment = {"A": "1", "HOME": str(tmp_path)}
    ended = run_limited([PYTHON, "-c", code, *arguments], environment, 60, wants_output=True)
    assert ended.problem == ""
    text = ended.output.decode()
    assert text.startswith(f"{arguments} ")
    assert "'A', 'HOME'" in text
    assert os.path.expanduser("~") in text  # noqa: PTH111 - as the module does it
    given = run_limited(["/bin/cat"], {}, 60, given=b"in", wants_output=True)
    assert given.output == b"in"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/nonexistent/x"], "/nonexistent/x cannot be started: it is gone"),
        (["/"], "cannot be started"),
        (["a\0b"], "cannot be started"),
        (["/bin/sh", "-c", "exit 3"], "/bin/sh ended with code 3"),
        (["/bin/sh", "-c", "kill -9 $$"], "/bin/sh ended with code -9"),
    ],
)
def test_what_goes_wrong_is_said(command: list[str], said: str) -> None:
    ended = run_limited(command, {}, 60)
    assert said in ended.problem
    assert ended.problem.isprintable()


def test_one_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid}; wait"
    began = time.monotonic()
    ended = run_limited(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, 1)
    assert "took more than 1 s and was ended" in ended.problem
    assert time.monotonic() - began < 60
    child = int(pid.read_text())
    for _ in range(1000):  # init takes its exit status in its own time
        try:
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                break
        except (ProcessLookupError, FileNotFoundError):
            break
        time.sleep(0.01)
    else:
        pytest.fail("what it had started goes on")
