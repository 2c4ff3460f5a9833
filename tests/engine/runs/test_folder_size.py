"""The size of a run folder is what du counts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.runs.folder_size import size_of, size_of_all


def folder(path: Path) -> Path:
    (path / "workers" / "one").mkdir(parents=True)
    (path / "checkpoint.pt").write_bytes(b"x" * 70_001)
    (path / "workers" / "one" / "log.txt").write_bytes(b"y" * 313)
    (path / "empty").write_bytes(b"")
    os.link(path / "checkpoint.pt", path / "workers" / "kept.pt")
    (path / "link").symlink_to("/usr")
    return path


@pytest.mark.skipif(shutil.which("du") is None, reason="du is not installed")
def test_it_is_what_du_counts_without_the_folders_themselves(tmp_path: Path) -> None:
    made = folder(tmp_path / "run")
    said = subprocess.run(
        ["du", "-s", "--apparent-size", "--block-size=1", made],
        capture_output=True,
        text=True,
        check=True,
    )
    folders = [made, *(p for p in made.rglob("*") if p.is_dir() and not p.is_symlink())]
    own = sum(path.lstat().st_size for path in folders)
    assert size_of(made) == int(said.stdout.split()[0]) - own


def test_a_file_of_two_names_counts_once_and_what_is_gone_nothing(tmp_path: Path) -> None:
    made = folder(tmp_path / "run")
    link = (made / "link").lstat().st_size
    assert size_of(made) == 70_001 + 313 + link
    other = tmp_path / "other"
    other.mkdir()
    os.link(made / "checkpoint.pt", other / "again.pt")
    assert size_of_all([made, other]) == size_of(made)
    assert size_of(other) == 70_001
    assert size_of(tmp_path / "nothing") == 0
    (tmp_path / "elsewhere").symlink_to(made)
    assert size_of(tmp_path / "elsewhere") == size_of(made), "a run may lie on another disk"
