"""What is wrong with a folder for runs or data."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from moco_tui.cli import folder_facts


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    assert folder_facts.folder(tmp_path, problems, write=True)["locks"] is True

    def refuse(fd: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert folder_facts.folder(tmp_path, problems, write=True)["locks"] is False
    assert len(problems) == 1
    assert "flock" in problems[0]
    # One that lets two in at once is worth as little.
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    assert folder_facts.folder(tmp_path, problems, write=True)["locks"] is False


def test_folders_that_cannot_be_used_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    (tmp_path / "file").write_text("")
    assert folder_facts.folder(tmp_path / "file", problems, write=True)["exists"] is False
    assert "no folder" in problems.pop()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    facts = folder_facts.folder(tmp_path / "not" / "yet", problems, write=True)
    assert facts["writable"] is False
    assert "locks" not in facts
    assert str(tmp_path) in problems.pop()
    few = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: few)
    folder_facts.folder(tmp_path, problems, write=False)
    assert any("1 MiB" in problem for problem in problems)
