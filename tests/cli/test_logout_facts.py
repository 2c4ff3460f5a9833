"""Whether a detached run outlives its user's session."""

from __future__ import annotations

from pathlib import Path

import pytest

from moco_tui.cli import logout_facts


@pytest.fixture
def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose systemd-logind does not answer: only its files are there."""
    monkeypatch.setattr(logout_facts, "_live_settings", dict)
    monkeypatch.setattr(logout_facts, "user_name", lambda: "ada")
    monkeypatch.setattr(logout_facts, "LOGIND_MAIN", tmp_path / "etc" / "logind.conf")
    monkeypatch.setattr(logout_facts, "LOGIND_FOLDERS", (tmp_path / "usr", tmp_path / "run"))
    monkeypatch.setattr(logout_facts, "LINGER", tmp_path / "linger")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


DEFAULTS = "# See logind.conf(5)\n[Login]\n#KillUserProcesses=no\n#KillExcludeUsers=root\n"


def test_without_logind_nothing_is_claimed(logind: Path) -> None:
    problems: list[str] = []
    facts = logout_facts.logout(problems)
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
    facts = logout_facts.logout(problems)
    assert facts["kills your processes"] is kills
    assert len(problems) == kills
    assert facts["lingering"] is False


def test_a_logind_that_answers_is_believed(logind: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(logind / "etc/logind.conf", "KillUserProcesses=no\n")
    put(logind / "linger" / "ada", "")
    answer = logout_facts._pairs(
        ["KillUserProcesses=yes", "KillOnlyUsers=", "KillExcludeUsers=root"]
    )
    monkeypatch.setattr(logout_facts, "_live_settings", lambda: answer)
    problems: list[str] = []
    facts = logout_facts.logout(problems)
    assert facts["asked"] == "systemd-logind"
    assert facts["kills your processes"] is True
    assert facts["lingering"] is True
    assert "enable-linger" in problems[0]


def test_a_missing_loginctl_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert logout_facts._live_settings() == {}
