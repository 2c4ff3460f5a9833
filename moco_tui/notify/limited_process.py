"""Running a program for a limited time, without a shell and without a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.config.phrases import shown_value
from engine.files import reason


class Ended(NamedTuple):
    """How a program has ended.

    Attributes:
        problem: what went wrong, in words that follow a colon; empty when nothing did.
        output: what it printed, where that was wanted.
    """

    problem: str
    output: bytes = b""


def run_limited(
    command: Sequence[str],
    environment: Mapping[str, str],
    seconds: float,
    *,
    given: bytes | None = None,
    wants_output: bool = False,
) -> Ended:
    """Runs a program to its end, or kills it and all that it has started in its session.

    Args:
        command: the program and its arguments; ``~`` before the program is the user's home.
        environment: of the program, whole.
        seconds: that it may take.
        given: what it reads; None: nothing.
        wants_output: take what it prints; else that is thrown away.
    """
    try:
        process = subprocess.Popen(
            [os.path.expanduser(command[0]), *command[1:]],  # noqa: PTH111 - never raises
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE if wants_output else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # no signal of the terminal reaches it; one kill ends it all
            cwd=_home(),
            env=dict(environment),
        )
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        return Ended(f"{shown_value(command[0])} cannot be started: {why}")
    try:
        output, _ = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return Ended(f"{shown_value(command[0])} took more than {seconds:g} s and was ended")
    if process.returncode:
        return Ended(f"{shown_value(command[0])} ended with code {process.returncode}")
    return Ended("", output or b"")


def _home() -> str:
    """The folder in which the program starts: the same wherever the trainer was started."""
    home = os.path.expanduser("~")  # noqa: PTH111 - never raises
    return home if Path(home).is_dir() else os.sep
