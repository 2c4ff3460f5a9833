"""The command that this process was started with, as the record of a run keeps it."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import PurePath

from engine.text import clean_text

LIMIT = 2000
"""Characters that are kept of a command."""
_VARIABLE = "MOCO_TUI_COMMAND"  # of a process that another one started in its place
_SECRET = re.compile(r"token|secret|passw|api[-_]?key|access[-_]?key|credential|authori", re.I)
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "***"


def command() -> str:
    """What was typed: one clean line, without passwords.

    Of a detached trainer that is the command that started it.
    """
    return os.environ.get(_VARIABLE) or written(sys.argv)


def environment() -> dict[str, str]:
    """The variable that tells a child process what was typed."""
    return {_VARIABLE: command()}


def written(arguments: Sequence[str]) -> str:
    """Arguments as a shell takes them: one line of at most ``LIMIT`` characters.

    Args:
        arguments: as in ``sys.argv``; values of options such as ``--token`` are left out.
    """
    program, *rest = arguments or [""]
    shown = [_program(program)]
    hide = False
    for text in rest:
        if hide:
            shown.append(_HIDDEN)
            hide = False
            continue
        name, equals, _ = text.partition("=")
        secret = name.startswith("-") and _SECRET.search(name) is not None
        hide = secret and not equals
        shown.append(f"{name}={_HIDDEN}" if secret and equals else _quoted(text))
    return clean_text(" ".join(shown), LIMIT)


def without_passwords(text: str) -> str:
    """A text without the user and the password that stand in an address (RFC 3986, 3.2.1)."""
    return _PASSWORD_IN_URL.sub(_HIDDEN, text)


def is_secret(name: str) -> bool:
    """Whether the name of an option or a variable says that its value is nobody's business."""
    return _SECRET.search(name) is not None or name.upper().endswith("KEY")


def _quoted(text: str) -> str:
    # What is hidden is quoted as what it stands for, so that stars do not ask for quotes.
    return without_passwords(shlex.quote(text))


def _program(path: str) -> str:
    if path in ("", "-c", "-m"):
        return f"python {path}".strip()
    file = PurePath(path)
    if file.name == "__main__.py":
        return f"python -m {file.parent.name}"
    return f"python {shlex.quote(path)}" if file.suffix == ".py" else shlex.quote(file.name)
