"""The small form of ``training.py``: a real training that is killed resumes bit-exactly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..environment import with_packages


def test_a_killed_training_ends_where_an_undisturbed_one_does() -> None:
    script = Path(__file__).with_name("training.py")
    done = subprocess.run(
        [sys.executable, script, "--kills", "2"],
        env=with_packages(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every tensor and every point bit-equal" in done.stdout
