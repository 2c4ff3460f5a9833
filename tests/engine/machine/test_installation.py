"""What is installed: the packages that are there, and the version that this program is."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from engine.machine import installation
from engine.machine.installation import distributions, program_version


def test_versions_are_those_that_the_packages_say_themselves() -> None:
    distributions.cache_clear()
    found = distributions()
    said = {
        re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version
        for one in reversed(list(importlib.metadata.distributions()))
    }
    assert {name: said.get(name) for name in found} == found
    assert {"torch", "numpy", "textual", "nvidia-ml-py"} <= found.keys()


def test_of_a_package_that_is_there_twice_the_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, version in (("a", "2.0"), ("b", "1.0")):
        (tmp_path / place / f"Some_Thing-{version}.dist-info").mkdir(parents=True)
        (tmp_path / place / f"old-{version}-py3.11.egg-info").mkdir()
        (tmp_path / place / "nonsense.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / x) for x in ("a", "b", "missing")])
    distributions.cache_clear()
    assert distributions() == {"old": "2.0", "some-thing": "2.0"}
    distributions.cache_clear()


def test_a_checkout_says_its_version_in_its_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "moco-tui"\nversion = "9.8"\n')
    monkeypatch.setattr(installation, "_CHECKOUT", tmp_path)
    program_version.cache_clear()
    assert program_version() == "9.8"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "9.8"\n')
    program_version.cache_clear()
    assert program_version() != "9.8"
    program_version.cache_clear()
