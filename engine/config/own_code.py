"""Code of a user's own, named in a setting as ``package.module:Name``.

A path is imported, and so its code runs, only when a person of this process has named it: in an
option of the call, in a form, or in a TOML file of theirs. A path that merely stands in a record
counts as named when the record belongs to whoever runs the program; from a record that somebody
else wrote it is refused until it is named. What is named in a process is named in the trainers
that it starts.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import ConfigError

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_VARIABLE = "MOCO_TUI_ALLOW_CODE"

_named: set[str] = set(os.environ.get(_VARIABLE, "").split())


def is_path(text: object) -> bool:
    """Whether a value has the form ``package.module:Name``."""
    return isinstance(text, str) and _PATH.fullmatch(text) is not None


def name_paths(paths: Iterable[str]) -> None:
    """Note that a person has named these paths: from now on they may be imported."""
    _named.update(path for path in paths if is_path(path))


def name_if_own(paths: Iterable[str], file: Path) -> None:
    """Note the paths in a file as named where file and folder belong to the user of this process.

    The folder counts too, because who goes on with a run replaces its record and so owns that
    file. A file that is a link, or that cannot be looked at, names nothing.
    """
    try:
        found, folder = os.lstat(file), file.parent.stat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        return
    if not hasattr(os, "getuid") or {found.st_uid, folder.st_uid} == {os.getuid()}:
        name_paths(paths)


def environment() -> dict[str, str]:
    """The variables by which a process that is started here knows the paths that are named."""
    return {_VARIABLE: " ".join(sorted(_named))} if _named else {}


def check_named(path: str, key: str) -> None:
    """Refuses a path that nobody has named.

    Args:
        path: ``package.module:Name``.
        key: the setting that holds it, for the message.

    Raises:
        ConfigError: one sentence with the option that names it.
    """
    if path not in _named:
        raise ConfigError(
            f"{key} is {path}, code that a record of somebody else asks for; it is run only when "
            f"you name it: --allow-code {path}.",
            key,
        )


def load(path: str, key: str) -> Any:
    """What a path names.

    Args:
        path: ``package.module:Name``.
        key: the setting that holds it, for the messages.

    Raises:
        ConfigError: when nobody has named the path, or it leads to nothing.
    """
    check_named(path, key)
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # any module may fail in any way while it is imported
        reason = f"{type(error).__name__}: {error}".strip(": ")
        raise ConfigError(
            f"{key} is {path}, but {module_name} cannot be imported ({reason}); install it or add "
            "its folder to PYTHONPATH.",
            key,
        ) from error
    if not hasattr(module, name):
        raise ConfigError(f"{key} is {path}, but {module_name} has no {name}.", key)
    return getattr(module, name)
