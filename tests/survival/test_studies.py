"""The small form of ``studies.py``: a study that is killed computes nothing twice."""

from __future__ import annotations

from .scripts import survives


def test_a_killed_study_ends_with_the_table_of_an_undisturbed_one() -> None:
    survives("studies.py", "--tries", "2")


def test_a_study_whose_workers_are_killed_ends_with_the_table_of_one_process() -> None:
    survives("studies.py", "--tries", "2", "--workers", "2")
