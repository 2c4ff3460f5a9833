"""The small form of ``storage.py``: what must hold when processes die and disks fill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..environment import with_packages


@pytest.mark.parametrize("scenario", ["kills", "writers", "damage", "full-disk", "read-only"])
def test_storage_survives(scenario: str) -> None:
    script = Path(__file__).with_name("storage.py")
    done = subprocess.run(
        [sys.executable, script, "--small", "--only", scenario],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    if f"{scenario}: skipped: " in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{scenario}: held: " in done.stdout
