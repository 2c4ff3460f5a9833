"""The small forms: a survival script with few tries, as a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..environment import with_packages


def survives(script: str, *options: str, seconds: float = 280.0) -> None:
    """Runs a script of this folder; every try must be survived, and at least one be made.

    It is skipped where the script says that this machine does not allow it.
    """
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *options],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    said = done.stdout + done.stderr
    if reason := re.search(r"^skipped: .*", done.stdout, re.MULTILINE):
        pytest.skip(reason[0])
    last = re.search(r"tried (\d+), survived (\d+)$", done.stdout.strip())
    assert last is not None, said
    assert last[1] == last[2] != "0", said
    assert done.returncode == 0, said
