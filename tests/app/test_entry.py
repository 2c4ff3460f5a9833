"""The program begins with its own ``engine`` or with a sentence: others use that name too."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import moco_tui
from moco_tui.training.detached import child_command, child_environment

from ..environment import REPOSITORY, with_packages

FOREIGN = "raise SystemExit('the code of another package has run')\n"


def started(
    *words: str, env: Mapping[str, str], cwd: Path, command: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*(command or [sys.executable, "-P", "-m", "moco_tui"]), *words],
        env=dict(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


def refused(done: subprocess.CompletedProcess[str], *named: object) -> None:
    """One sentence, exit code 2, nothing on stdout."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("moco-tui: ")
    assert done.stderr.endswith(".\n")
    for words in named:
        assert str(words) in done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The packages as an installer lays them out, in a folder of their own."""
    place = tmp_path / "site"
    for name in ("engine", "moco_tui"):
        shutil.copytree(
            REPOSITORY / name, place / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return place


@pytest.mark.parametrize("form", ["package", "module"])
def test_another_engine_that_python_finds_first_is_named(tmp_path: Path, form: str) -> None:
    other = tmp_path / "theirs" / ("engine.py" if form == "module" else "engine/__init__.py")
    other.parent.mkdir(parents=True)
    other.write_text(FOREIGN)
    env = with_packages(tmp_path / "theirs")
    for words in (["--version"], ["runs"], []):
        refused(started(*words, env=env, cwd=tmp_path), other, "PYTHONPATH", "environment")


def test_the_folder_where_python_starts_may_hold_another_engine(tmp_path: Path) -> None:
    other = tmp_path / "engine" / "__init__.py"
    other.parent.mkdir()
    other.write_text(FOREIGN)
    by_module = [sys.executable, "-m", "moco_tui"]
    done = started("--version", env=with_packages(), cwd=tmp_path, command=by_module)
    refused(done, other, "another folder")
    # The processes that the app starts look elsewhere, whatever lies where it was started.
    (tmp_path / "click.py").write_text(FOREIGN)
    env = with_packages() | {"PYTHONPATH": child_environment()["PYTHONPATH"]}
    done = started("--version", env=env, cwd=tmp_path, command=child_command())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"moco-tui {moco_tui.__version__}\n"


def test_a_control_character_in_a_folders_name_reaches_no_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "a\x1b[2Jb"
    folder.mkdir()
    (folder / "engine.py").write_text(FOREIGN)
    done = started("--version", env=with_packages(folder), cwd=tmp_path)
    refused(done, "a?[2Jb")


def test_an_engine_installed_over_ours_is_noticed(installed: Path, tmp_path: Path) -> None:
    env = with_packages(installed)
    assert started("--version", env=env, cwd=tmp_path).returncode == 0
    (installed / "engine" / "__init__.py").write_text(FOREIGN)
    over = started("runs", env=env, cwd=tmp_path)
    refused(over, installed / "engine" / "__init__.py", "--force-reinstall")


def test_what_the_removal_of_the_other_one_leaves_is_noticed(
    installed: Path, tmp_path: Path
) -> None:
    # Without this checkout behind it, where Python would go on to look.
    env = {**with_packages(), "PYTHONPATH": str(installed)}
    command = [sys.executable, "-S", "-P", "-m", "moco_tui"]
    (installed / "engine" / "__init__.py").unlink()
    lost = started("runs", env=env, cwd=tmp_path, command=command)
    refused(lost, installed / "engine", "--force-reinstall")
    shutil.rmtree(installed / "engine")
    gone = started("runs", env=env, cwd=tmp_path, command=command)
    refused(gone, installed, "--force-reinstall")


def test_the_look_at_engine_imports_none_of_it(tmp_path: Path) -> None:
    code = (
        "import sys, moco_tui.__main__ as entry\n"
        "assert entry.other_engine() == ''\n"
        "print([n for n in sys.modules if n.startswith(('engine', 'click', 'pathlib', 'inspect'))])"
    )
    bare = [sys.executable, "-S", "-c", code]
    done = started(env=with_packages(), cwd=tmp_path, command=bare)
    assert (done.stdout, done.stderr) == ("[]\n", "")
