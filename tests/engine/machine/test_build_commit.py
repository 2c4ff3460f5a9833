"""A build notes the commit that it is made from, and does without where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.machine import build_commit
from engine.machine.build_commit import note_state, repository_state

from ...environment import with_packages

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *who, "-C", str(folder), *words], check=True, capture_output=True, env=environment
    )
    return done.stdout.decode().strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with this one's commands, committed."""
    place = tmp_path / "project"
    (place / "engine").mkdir(parents=True)
    (place / "engine" / "__init__.py").write_text("")
    (place / ".gitignore").write_text("*.egg-info/\nbuild/\n")
    (place / "engine" / "machine").mkdir()
    (place / "engine" / "machine" / "__init__.py").write_text("")
    shutil.copy(Path(build_commit.__file__), place / "engine" / "machine")
    (place / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "small"\nversion = "1"\n'
        '[tool.setuptools]\npackages = ["engine", "engine.machine"]\ninclude-package-data = false\n'
        '[tool.setuptools.cmdclass]\nbuild_py = "engine.machine.build_commit.BuildPackages"\n'
        'sdist = "engine.machine.build_commit.SourceDistribution"\n'
        '[tool.setuptools.package-data]\nengine = ["built_from.json"]\n'
    )
    git(place, "init", "-q", "-b", "main")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")
    return place


def test_the_state_of_a_tree_is_that_of_its_own_repository(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(project, "rev-parse", "HEAD")
    state = repository_state(project)
    assert state == {"commit": commit, "changed": 0, "untracked": 0}
    (project / "engine" / "__init__.py").write_text("x = 1\n")
    (project / "engine" / "new.py").write_text("")
    assert repository_state(project) == {"commit": commit, "changed": 1, "untracked": 1}
    inside = project / "vendored"  # an archive that is unpacked below another project
    inside.mkdir()
    (inside / "pyproject.toml").write_text("")
    assert repository_state(inside) is None
    assert repository_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert repository_state(project) is None, "without git"


def test_what_an_earlier_build_left_does_not_stay(project: Path, tmp_path: Path) -> None:
    target, plain = tmp_path / "built", tmp_path / "plain"
    plain.mkdir()
    note_state(repository_state(project), project, target)
    note = target / "engine" / "built_from.json"
    assert json.loads(note.read_text())["commit"] == git(project, "rev-parse", "HEAD")
    note_state(None, plain, target)
    assert not note.exists()
    # A source distribution brings it along: the build has copied it as any other file.
    (plain / "engine").mkdir()
    for place in (plain / "engine" / "built_from.json", note):
        place.write_text("{}")
    note_state(None, plain, target)
    assert note.read_text() == "{}"


def test_a_wheel_carries_the_commit_of_the_sources_and_the_tree_stays_as_it_was(
    project: Path, tmp_path: Path
) -> None:
    (project / "engine" / "__init__.py").write_text("x = 1\n")
    expected = {"commit": git(project, "rev-parse", "HEAD"), "changed": 1, "untracked": 0}
    out = tmp_path / "out"
    built(project, "build_sdist", out)
    assert not (project / "engine" / "built_from.json").exists()
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert json.loads((unpacked / "engine" / "built_from.json").read_text()) == expected
    built(unpacked, "build_wheel", out)
    (wheel,) = out.glob("*.whl")
    assert noted(wheel) == expected
    wheel.unlink()
    # At once from the checkout, as pip does it.
    built(project, "build_wheel", out)
    (wheel,) = out.glob("*.whl")
    assert noted(wheel) == expected
    assert not (project / "engine" / "built_from.json").exists()


def test_a_source_archive_builds_without_a_commit(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    built(project, "build_wheel", tmp_path / "out")
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if name.startswith("engine/")] == [
            "engine/__init__.py",
            "engine/machine/__init__.py",
            "engine/machine/build_commit.py",
        ]


def built(source: Path, hook: str, out: Path) -> None:
    """What a frontend asks of the build, without an environment of its own."""
    code = (
        "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, hook, str(out)],
        cwd=source, env=with_packages(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def noted(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        found: dict[str, Any] = json.loads(archive.read("engine/built_from.json"))
    return found
