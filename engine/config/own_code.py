"""Code of a user's own, given in a setting as ``package.module:Name``.

Importing a path runs its code, and a run folder may have been written by somebody else. So a path
is imported only when the person who runs this process has named it: in an option of the call, in a
form, or in a TOML file of theirs. A path in a record counts as named when the record belongs to the
user of this process, who alone may write it; from any other record it is refused until it is named.
Trainers that this process starts inherit what is named, through an environment variable.
"""

from __future__ import annotations

import grp
import importlib
import os
import pwd
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, described

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_VARIABLE = "MOCO_TUI_ALLOW_CODE"  # separated by spaces, which a path cannot hold

_named: set[str] = set(os.environ.get(_VARIABLE, "").split())


def is_path(text: object) -> bool:
    """Whether a value has the form ``package.module:Name``."""
    return isinstance(text, str) and _PATH.fullmatch(text) is not None


def name_paths(paths: Iterable[str]) -> None:
    """Note that a person has named these paths: from now on they may be imported."""
    _named.update(path for path in paths if is_path(path))


def name_if_own(paths: Iterable[str], file: Path) -> None:
    """Count the paths in a file as named where file and folder are the user's of this process.

    They belong to that user, and nobody else may write them: a member of a group could put a path
    into the file. The folder has to as well: resuming another user's run replaces its record, and
    the new file belongs to whoever resumed it. A link or a file that cannot be inspected names
    nothing.

    Args:
        paths: the paths that the file holds.
        file: the record; read by the caller.
    """
    try:
        # lstat: a link of another user's could point to a file of this user's.
        found, folder = os.lstat(file), file.parent.stat()
    except OSError:
        return
    if stat.S_ISLNK(found.st_mode):
        return
    if all(each.st_uid == os.getuid() and not _others_write(each) for each in (found, folder)):
        name_paths(paths)


def _others_write(found: os.stat_result) -> bool:
    """Whether somebody else than this user may write a file or folder of this user."""
    if found.st_mode & stat.S_IWOTH:
        return True
    if not found.st_mode & stat.S_IWGRP:
        return False
    # Many systems give each user a group of that name alone, and a umask of 002.
    try:
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(found.st_gid)
    except KeyError:
        return True
    return group.gr_name != user or not set(group.gr_mem) <= {user}


def environment() -> dict[str, str]:
    """Environment variables that tell a child process which paths are named."""
    return {_VARIABLE: " ".join(sorted(_named))} if _named else {}


def check_named(path: str, key: str) -> None:
    """Refuse a path that has not been named.

    Args:
        path: ``package.module:Name``.
        key: the setting that holds it, for the message.

    Raises:
        ConfigError: one sentence with the command-line option that names it.
    """
    if path not in _named:
        raise ConfigError(
            f"{key} is {path}, code that a record asks for which others may have written; it runs "
            f"only when you name it: --allow-code {path}.",
            key,
        )


def load(path: str, key: str) -> Any:
    """The object that a path names, imported now if it was not before.

    Args:
        path: ``package.module:Name``.
        key: the setting that holds it, for the messages.

    Raises:
        ConfigError: when the path has not been named, the module cannot be imported, or it has no
            such attribute.
    """
    check_named(path, key)
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything while it is imported
        reason = described(error)
        raise ConfigError(
            f"{key} is {path}, but {module_name} cannot be imported ({reason}); install it or add "
            "its folder to PYTHONPATH.",
            key,
        ) from error
    if not hasattr(module, name):
        raise ConfigError(f"{key} is {path}, but {module_name} has no {name}.", key)
    return getattr(module, name)
