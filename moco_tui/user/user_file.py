"""The file of a user's own configuration: where it is, and reading it without ever failing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from engine.config.toml_file import read_toml_file
from engine.errors import ConfigError
from engine.files import is_gone
from engine.text import one_line
from moco_tui.user.user_schema import UserConfig

VARIABLE = "MOCO_TUI_CONFIG"
"""The environment variable that names another file."""
_OUTWARD = ("notify.command", "notify.apprise")  # they start a program, or send something out
_MOST_SAID = 20  # sentences; a file of nonsense has as many as it has lines
_MOST_SETTINGS = 500  # of a file; to look for what each of 100,000 may mean takes half a minute


@dataclass(frozen=True)
class UserFile:
    """What was read of a user's configuration.

    Attributes:
        path: the file; it may not exist.
        config: what is in force; the default for all that the file does not say or says wrongly.
        given: the settings that the file has, with their values, by dotted key.
        problems: one sentence on each thing in the file that is left out.
    """

    path: Path
    config: UserConfig = field(default_factory=UserConfig)
    given: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Absolute path of the file: ``$MOCO_TUI_CONFIG``, or in the user's folder for such files.

    Args:
        environ: environment variables; None: those of this process.
    """
    named = (os.environ if environ is None else environ).get(VARIABLE, "")
    if named:
        return Path(os.path.abspath(os.path.expanduser(named)))  # noqa: PTH100, PTH111 - never raise
    from platformdirs import user_config_path

    return user_config_path("moco-tui", appauthor=False) / "config.toml"


def environment() -> dict[str, str]:
    """What leads another process, which starts in another folder, to the same file."""
    return {VARIABLE: str(config_path())} if os.environ.get(VARIABLE) else {}


def read_user_file(path: Path | None = None) -> UserFile:
    """The user's configuration. Whatever is wrong with the file is named, left out, and no error.

    Args:
        path: the file, or a link to it; None: that of ``config_path``.
    """
    path = config_path() if path is None else path
    if is_gone(path):
        return UserFile(path)
    try:
        tree = read_toml_file(path)
    except ConfigError as error:
        return UserFile(path, problems=(one_line(f"{error} The defaults hold."),))
    return parse(tree, path, untrusted=_why_untrusted(path))


def parse(tree: Mapping[str, Any], path: Path, *, untrusted: str = "") -> UserFile:
    """The configuration in a file's tables.

    Args:
        tree: of the file.
        path: of the file, for the sentences.
        untrusted: why nothing outside is started for it; empty where it may be.
    """
    # Only now: a start without such a file does not wait for the inspection of types.
    from moco_tui.user.user_values import assembled, checked, leaves

    values: dict[str, Any] = {}
    problems: list[str] = []
    found = leaves(tree)
    for key, value in islice(found, _MOST_SETTINGS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old names of settings hold here as well
                name, good = checked(key, value)
            if untrusted and name in _OUTWARD and good:
                raise ConfigError(f"{name} is not used: {untrusted}.", name)
            values[name] = good
        except ConfigError as error:
            problems.append(one_line(f"{path}: {error}"))
    left = len(problems) - _MOST_SAID
    if left > 0:
        problems[_MOST_SAID:] = [one_line(f"{path}: {left} more settings are wrong.")]
    if next(found, None) is not None:
        rest = f"{path}: it holds more than {_MOST_SETTINGS} settings; the rest is left out."
        problems.append(one_line(rest))
    return UserFile(path, assembled(values), values, tuple(problems))


def _why_untrusted(path: Path) -> str:
    """Why a file may not start programs: somebody else may have written it."""
    try:
        found = path.stat()
    except OSError:
        return "the file cannot be looked at"
    if found.st_uid not in (os.geteuid(), 0):
        return "the file belongs to another user"
    if found.st_mode & 0o002:
        return "everybody may write the file (chmod o-w)"
    return ""
