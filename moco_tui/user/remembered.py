"""What the app remembers of its own accord, in ``state.toml`` beside the user's configuration.

In a file of its own: a person's file, with its comments, is changed only when a person asks for it.
A theme that was chosen in the app holds until the configuration names another one than it did then.
"""

from __future__ import annotations

from pathlib import Path

import tomli_w

from engine.config.toml_file import read_toml_file
from engine.errors import ConfigError
from engine.files import is_gone, reason, replace_file
from engine.text import is_plain, one_line
from moco_tui.user.user_file import UserFile

_MOST_CHARACTERS = 100  # of the name of a theme


def state_path(user: UserFile) -> Path:
    """The file beside the user's configuration."""
    return user.path.parent / "state.toml"


def theme_of(user: UserFile) -> tuple[str, Path | None]:
    """The theme that holds, and the file that says so; both empty where none does."""
    state = _read(state_path(user))
    chosen, over = state.get("theme"), state.get("over", "")
    if isinstance(chosen, str) and _is_name(chosen) and over == user.config.theme:
        return chosen, state_path(user)
    return user.config.theme, user.path if "theme" in user.given else None


def remember_theme(user: UserFile, theme: str) -> str:
    """Keeps a theme that was chosen in the app; a sentence where that failed, else nothing."""
    path = state_path(user)
    text = tomli_w.dumps({"theme": theme, "over": user.config.theme})
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text.encode("utf-8"), durable=False, follow_folder=True)
    except OSError as error:
        return one_line(f"The theme is not remembered: {path} cannot be written: {reason(error)}.")
    return ""


def _read(path: Path) -> dict[str, object]:
    """What the file holds; nothing where it is missing or damaged: it is made anew then."""
    if is_gone(path):
        return {}
    try:
        return read_toml_file(path)
    except ConfigError:
        return {}


def _is_name(theme: str) -> bool:
    return 0 < len(theme) <= _MOST_CHARACTERS and is_plain(theme)
