"""The small form of ``clock.py``: a killed study under a clock that is set again and again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..environment import with_packages


def test_a_study_under_a_clock_that_jumps_measures_what_an_undisturbed_one_does() -> None:
    script = Path(__file__).with_name("clock.py")
    done = subprocess.run(
        [sys.executable, script, "--small", "--kills", "1"],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same numbers, no run twice" in done.stdout
