"""Code of a user's own, named in a setting as ``package.module:Name``.

A path is imported, and so its code runs, only when a person of this process has named it: in an
option of the call, in a form, or in a TOML file of theirs. A path that merely stands in a record
counts as named when the record belongs to whoever runs the program; from a record that somebody
else wrote it is refused until it is named.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import ConfigError

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

_named: set[str] = set()


def is_path(text: object) -> bool:
    """Whether a value has the form ``package.module:Name``."""
    return isinstance(text, str) and _PATH.fullmatch(text) is not None


def name_paths(paths: Iterable[str]) -> None:
    """Note that a person has named these paths: from now on they may be imported."""
    _named.update(path for path in paths if is_path(path))


def named() -> tuple[str, ...]:
    """The paths that have been named so far, sorted: another process may be told of them."""
    return tuple(sorted(_named))


def name_if_own(paths: Iterable[str], file: Path) -> None:
    """Note the paths in a file as named where the file belongs to the user of this process.

    A file that is a link, or that cannot be looked at, names nothing.
    """
    try:
        owner = os.lstat(file).st_uid
    except OSError:
        return
    if not hasattr(os, "getuid") or owner == os.getuid():
        name_paths(paths)


def load(path: str, key: str) -> Any:
    """What a path names.

    Args:
        path: ``package.module:Name``.
        key: the setting that holds it, for the messages.

    Raises:
        ConfigError: when nobody has named the path, or it leads to nothing.
    """
    if path not in _named:
        raise ConfigError(
            f"{key} is {path}, code that a record of somebody else asks for; it is run only when "
            f"you name it: --allow-code {path}.",
            key,
        )
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
