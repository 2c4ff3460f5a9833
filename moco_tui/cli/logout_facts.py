"""What happens to a detached process when its user logs out."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# In ascending order of precedence; all of them below /etc (logind.conf(5)).
LOGIND_FOLDERS = tuple(
    Path(folder) for folder in ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd")
)
LOGIND_MAIN = Path("/etc/systemd/logind.conf")
LINGER = Path("/var/lib/systemd/linger")


def logout(problems: list[str]) -> dict[str, Any]:
    """Whether systemd-logind kills what a user leaves running, and for whom."""
    user = user_name()
    live = _live_settings()
    known = live or _configured_settings()
    # The spellings of true that systemd reads (systemd.syntax(7)).
    kills = known.get("KillUserProcesses", "").lower() in ("yes", "true", "1", "on")
    only = known.get("KillOnlyUsers", "").split()
    spared = known.get("KillExcludeUsers", "root").split()  # root by default: logind.conf(5)
    concerned = kills and user not in spared and (not only or user in only)
    if concerned:
        problems.append(
            "systemd-logind kills your processes when you log out (KillUserProcesses=yes), "
            "detached runs too; start moco-tui with: loginctl enable-linger; "
            "systemd-run --user --scope moco-tui."
        )
    return {
        "asked": "systemd-logind" if live else "logind.conf" if known else "nothing found",
        "KillUserProcesses": known.get("KillUserProcesses"),
        "kills your processes": concerned if known else None,
        "lingering": (LINGER / user).exists(),
    }


def _live_settings() -> dict[str, str]:
    """The properties of the running systemd-logind; empty where there is none."""
    names = ("KillUserProcesses", "KillOnlyUsers", "KillExcludeUsers")
    command = ["loginctl", "show-session", *(f"--property={name}" for name in names)]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return _pairs(answer.splitlines())


def _configured_settings() -> dict[str, str]:
    """The settings in the files of systemd-logind; of two files the one read later wins."""
    # Drop-ins are read in the order of their names, whatever folder they are in, after the main
    # file; one in /etc hides one of the same name in /run, and that one in /usr (logind.conf(5)).
    main = [base / "logind.conf" for base in LOGIND_FOLDERS]
    drop_ins: dict[str, Path] = {}
    for base in (*LOGIND_FOLDERS, LOGIND_MAIN.parent):
        with contextlib.suppress(OSError):
            drop_ins |= {file.name: file for file in (base / "logind.conf.d").glob("*.conf")}
    files = [LOGIND_MAIN] if LOGIND_MAIN.exists() else [file for file in main if file.exists()][-1:]
    found: dict[str, str] = {}
    for file in [*files, *(drop_ins[name] for name in sorted(drop_ins))]:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found |= _pairs(file.read_text(encoding="utf-8").splitlines())
    return found


def _pairs(lines: Sequence[str]) -> dict[str, str]:
    """``key=value`` lines. A commented line of the main file names the compiled default."""
    found: dict[str, str] = {}
    for commented in (True, False):  # a setting that is made wins over a default
        for line in lines:
            text = line.strip()
            if text.startswith("#") is commented and "=" in text:
                key, _, value = text.lstrip("#").partition("=")
                if key.strip().isalnum():
                    found[key.strip()] = value.strip()
    return found


def user_name() -> str:
    """The name of the user of this process, or the number where it has none."""
    with contextlib.suppress(Exception):
        return getpass.getuser()
    return f"user {os.getuid()}"
