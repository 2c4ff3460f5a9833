"""The small form of ``handovers.py``: a lost terminal costs a training nothing."""

from __future__ import annotations

from .scripts import survives


def test_a_training_that_loses_its_terminal_goes_on_to_the_same_bits() -> None:
    survives("handovers.py", "--tries", "1", "--jobs", "1")
