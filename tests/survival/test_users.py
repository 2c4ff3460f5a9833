"""The small form of ``users.py``: two users on one runs folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..environment import with_packages


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users")
def test_each_user_may_do_what_is_written() -> None:
    script = Path(__file__).with_name("users.py")
    done = subprocess.run(
        [sys.executable, script, "--small"],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    if "skipped: " in done.stdout + done.stderr:
        pytest.skip(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried " in done.stdout
