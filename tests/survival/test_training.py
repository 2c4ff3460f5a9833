"""The small form of ``training.py``: a real training that is killed resumes bit-exactly."""

from __future__ import annotations

from .scripts import survives


def test_a_killed_training_ends_where_an_undisturbed_one_does() -> None:
    survives("training.py", "--tries", "3")
