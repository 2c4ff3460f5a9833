"""The report on this machine: complete, harmless, and right about what would go wrong."""

from __future__ import annotations

import errno
import fcntl
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from moco_tui.cli import checkup

from .conftest import Call, trained


def test_the_report_has_every_section_and_changes_nothing(
    call: Call, root: Path, tmp_path: Path
) -> None:
    trained(root)
    before = sorted(tmp_path.rglob("*"))
    called = call("doctor")
    assert called.code == 0
    for section in (
        "versions",
        "cpu",
        "device",
        "terminal",
        "runs folder",
        "data folder",
        "logout",
        "problems",
    ):
        assert f"\n{section}\n" in "\n" + called.out
    assert version("torch") in called.out
    assert platform.python_version() in called.out
    assert str(root) in called.out
    facts = json.loads(call("doctor", "--json").out)
    assert facts["versions"]["textual"] == version("textual")
    assert facts["runs folder"]["locks"] is True
    assert facts["runs folder"]["writable"] is True
    assert facts["data folder"]["exists"] is False
    assert facts["terminal"]["terminal"] is False
    assert sorted(tmp_path.rglob("*")) == before


def test_a_device_that_is_not_there_is_a_problem_and_no_failure(call: Call) -> None:
    called = call("doctor", "--device", "cuda:99", "--json")
    assert called.code == 0
    assert any("cuda:99" in problem for problem in json.loads(called.out)["problems"])


def test_read_only_tries_no_lock(call: Call, root: Path) -> None:
    facts = json.loads(call("--read-only", "doctor", "--json").out)
    assert "locks" not in facts["runs folder"]


def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    assert checkup.folder(tmp_path, problems, write=True)["locks"] is True

    def refuse(fd: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert checkup.folder(tmp_path, problems, write=True)["locks"] is False
    assert len(problems) == 1
    assert "flock" in problems[0]
    # One that lets two in at once is worth as little.
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    assert checkup.folder(tmp_path, problems, write=True)["locks"] is False


def test_folders_that_cannot_be_used_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    (tmp_path / "file").write_text("")
    assert checkup.folder(tmp_path / "file", problems, write=True)["exists"] is False
    assert "no folder" in problems.pop()
    monkeypatch.setattr(checkup.os, "access", lambda path, mode: False)
    facts = checkup.folder(tmp_path / "not" / "yet", problems, write=True)
    assert facts["writable"] is False
    assert "locks" not in facts
    assert str(tmp_path) in problems.pop()
    few = checkup.shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda path: few)
    checkup.folder(tmp_path, problems, write=False)
    assert any("1 MiB" in problem for problem in problems)


@pytest.fixture
def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose systemd-logind does not answer: only its files are there."""
    monkeypatch.setattr(checkup, "_asked_logind", dict)
    monkeypatch.setattr(checkup, "_user", lambda: "ada")
    monkeypatch.setattr(checkup, "LOGIND_MAIN", tmp_path / "etc" / "logind.conf")
    monkeypatch.setattr(checkup, "LOGIND_FOLDERS", (tmp_path / "usr", tmp_path / "run"))
    monkeypatch.setattr(checkup, "LINGER", tmp_path / "linger")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


DEFAULTS = "# See logind.conf(5)\n[Login]\n#KillUserProcesses=no\n#KillExcludeUsers=root\n"


def test_without_logind_nothing_is_claimed(logind: Path) -> None:
    problems: list[str] = []
    facts = checkup.logout(problems)
    assert facts["KillUserProcesses"] is None
    assert facts["kills your processes"] is None
    assert problems == []


@pytest.mark.parametrize(
    ("files", "kills"),
    [
        ({"etc/logind.conf": DEFAULTS}, False),
        (
            {
                "etc/logind.conf": DEFAULTS.replace(
                    "#KillUserProcesses=no", "#KillUserProcesses=yes"
                )
            },
            True,
        ),
        ({"etc/logind.conf": DEFAULTS + "KillUserProcesses=yes\n"}, True),
        ({"usr/logind.conf": "[Login]\nKillUserProcesses=yes\n"}, True),
        (
            {"usr/logind.conf": "[Login]\nKillUserProcesses=yes\n", "etc/logind.conf": DEFAULTS},
            False,
        ),
        ({"etc/logind.conf": DEFAULTS, "etc/logind.conf.d/a.conf": "KillUserProcesses=yes"}, True),
        (
            {
                "etc/logind.conf": DEFAULTS,
                "etc/logind.conf.d/a.conf": "KillUserProcesses=yes",
                "run/logind.conf.d/b.conf": "KillUserProcesses=no",
            },
            False,
        ),
        (
            {
                "etc/logind.conf.d/a.conf": "KillUserProcesses=no",
                "usr/logind.conf.d/a.conf": "KillUserProcesses=yes",
            },
            False,
        ),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillExcludeUsers=root ada\n"}, False),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob\n"}, False),
        ({"etc/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=bob ada\n"}, True),
    ],
)
def test_the_files_of_logind_tell_who_is_killed_at_logout(
    logind: Path, files: dict[str, str], kills: bool
) -> None:
    for name, text in files.items():
        put(logind / name, text)
    problems: list[str] = []
    facts = checkup.logout(problems)
    assert facts["kills your processes"] is kills
    assert len(problems) == kills
    assert facts["lingering"] is False


def test_a_logind_that_answers_is_believed(logind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(logind / "etc/logind.conf", "KillUserProcesses=no\n")
    put(logind / "linger" / "ada", "")
    answer = checkup._pairs(["KillUserProcesses=yes", "KillOnlyUsers=", "KillExcludeUsers=root"])
    monkeypatch.setattr(checkup, "_asked_logind", lambda: answer)
    problems: list[str] = []
    facts = checkup.logout(problems)
    assert facts["asked"] == "systemd-logind"
    assert facts["kills your processes"] is True
    assert facts["lingering"] is True
    assert "enable-linger" in problems[0]


def test_a_missing_loginctl_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert checkup._asked_logind() == {}
