"""What is installed: the packages that are there, and the version that this program is."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from engine.machine import installation
from engine.machine.installation import BuiltFrom, built_from, distributions, program_version


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'{{"commit": "{"a" * 40}", "changed": 2, "untracked": 1, "later": true}}',
            BuiltFrom("a" * 40, 2, 1),
        ),
        (f'{{"commit": "{"b" * 64}"}}', BuiltFrom("b" * 64)),
        ('{"commit": "\\u001b[31m"}', BuiltFrom()),
        ('{"commit": 7}', BuiltFrom()),
        (f'{{"commit": "{"a" * 40}", "changed": -1}}', BuiltFrom()),
        ("[", BuiltFrom()),
        (None, BuiltFrom()),
    ],
)
def test_what_is_installed_says_the_commit_that_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, expected: BuiltFrom
) -> None:
    if text is not None:
        (tmp_path / "built_from.json").write_text(text)
    monkeypatch.setattr(installation, "_BUILT_FROM", tmp_path / "built_from.json")
    built_from.cache_clear()
    assert built_from() == expected
    built_from.cache_clear()


@pytest.mark.parametrize("package", ["engine", "another"])
def test_pip_says_the_commit_of_the_repository_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    about = tmp_path / "moco_tui-9.8.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: moco-tui\nVersion: 9.8\n")
    commit = "c" * 40
    (about / "direct_url.json").write_text(  # as in PEP 610
        '{"url": "https://example.org/moco-tui.git", '
        f'"vcs_info": {{"vcs": "git", "commit_id": "{commit}"}}}}'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    # Of another place: the program that runs is not the one that is installed there.
    monkeypatch.setattr(installation, "_BUILT_FROM", tmp_path / package / "built_from.json")
    built_from.cache_clear()
    assert built_from() == BuiltFrom(commit if package == "engine" else "")
    built_from.cache_clear()
