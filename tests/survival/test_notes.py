"""The small form of ``notes.py``: what several processes write of a run is all there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..environment import with_packages


@pytest.mark.parametrize("scenario", ["tags", "notes", "names", "trash"])
def test_nothing_that_was_written_of_a_run_is_lost(scenario: str) -> None:
    script = Path(__file__).with_name("notes.py")
    done = subprocess.run(
        [sys.executable, script, "--small", "--only", scenario],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{scenario}: held: tried " in done.stdout
