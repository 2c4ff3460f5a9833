"""Writing the user's configuration: one setting at a time, the file whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.config.phrases import shown_value
from engine.config.toml_file import MOST_BYTES, parse_toml
from engine.errors import ConfigError
from engine.files import is_gone, read_plain, reason, replace_file
from moco_tui.user.toml_edit import has_value, with_value, without_value
from moco_tui.user.user_values import checked, known_settings, table_of, typed, unknown

TEMPLATE = (
    "# Your configuration of moco-tui; the command moco-tui config says what may stand here.\n"
)


def set_setting(path: Path, key: str, words: Sequence[str]) -> tuple[str, Any]:
    """Puts a setting into the file.

    Args:
        path: the file; it is made where it is missing.
        key: dotted.
        words: the value as typed; a list may have several.

    Returns:
        The whole key, and the value as it is written.

    Raises:
        ConfigError: when the setting or its value is wrong, or the file cannot be changed.
    """
    name, value = checked(key, typed(key, words))
    before = read_text(path)
    place = next((place for place in _places(name) if has_value(before, place)), _places(name)[0])
    _write(path, with_value(before, place, value))
    return name, value


def unset_setting(path: Path, key: str) -> bool:
    """Takes a setting out of the file, so that its default holds; False when it was not there.

    Raises:
        ConfigError: when there is no such setting, or the file cannot be changed.
    """
    if not table_of(key) and key not in known_settings():
        raise unknown(key)
    before = read_text(path)
    for place in _places(key):
        after = without_value(before, place)
        if after != before:
            _write(path, after)
            return True
    return False


def read_text(path: Path) -> str:
    """The text of the file; that of a new one where there is none.

    Raises:
        ConfigError: when it cannot be read, or is no TOML.
    """
    if is_gone(path):
        return TEMPLATE
    try:
        text = read_plain(path, MOST_BYTES, follow=True).decode("utf-8-sig")
        parse_toml(text)
    except OSError as error:
        raise ConfigError(f"The config file {path} cannot be read: {reason(error)}.") from None
    except ValueError as error:  # of the encoding, or of TOML
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(
            f"The config file {path} is not valid TOML: {why}; moco-tui config edit opens it."
        ) from None
    return text


def make_file(path: Path) -> None:
    """Makes the file where it is missing, so that an editor has something to open.

    Raises:
        ConfigError: when it cannot be written.
    """
    if is_gone(path):
        _write(path, TEMPLATE)


def _places(key: str) -> list[tuple[str, ...]]:
    """Where a setting may stand, as the names of its tables and its own; the usual place first.

    What stands in one of the ``TABLES`` may be written as one name or as tables within it.
    """
    table, parts = table_of(key), tuple(key.split("."))
    if table:
        return [(*table.split("."), key.removeprefix(f"{table}.")), parts]
    return [parts]


def _write(path: Path, text: str) -> None:
    # A link to the file is the user's own, as people have who keep such files elsewhere.
    with contextlib.suppress(OSError):
        path = path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The rights of the file before; a new one is this user's alone: addresses hold passwords.
        mode = 0o600 if is_gone(path) else path.stat().st_mode & 0o777
        data = text.encode("utf-8")
        replace_file(path, data, follow_folder=True, check=lambda fd: os.fchmod(fd, mode))
    except (OSError, UnicodeEncodeError) as error:
        why = reason(error) if isinstance(error, OSError) else shown_value(str(error))
        raise ConfigError(f"The config file {path} cannot be written: {why}.") from None
