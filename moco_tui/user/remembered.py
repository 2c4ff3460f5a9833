"""What the app remembers of its own accord, in ``state.toml`` beside the user's configuration.

In a file of its own: a person's file, with its comments, is changed only when a person asks for it.
A theme that was chosen in the app holds until the configuration names another one than it did then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tomli_w

from engine.config.toml_file import read_toml_file
from engine.errors import ConfigError
from engine.files import is_gone, reason, replace_file
from engine.text import is_plain, one_line
from moco_tui.user.user_file import UserFile

_MOST_CHARACTERS = 200  # of the name of a theme, or of a chart
_MOST_CHARTS = 16


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
    return _keep(user, "The theme is", {"theme": theme, "over": user.config.theme})


def charts_of(user: UserFile, kind: str) -> list[str]:
    """Keys of the charts that were chosen for runs of a kind, in order; empty where none were."""
    charts = _read(state_path(user)).get("charts")
    keys = charts.get(kind) if isinstance(charts, dict) else None
    if not isinstance(keys, list):
        return []
    return [key for key in keys[:_MOST_CHARTS] if isinstance(key, str) and _is_name(key)]


def remember_charts(user: UserFile, kind: str, keys: Sequence[str]) -> str:
    """Keeps the charts that were chosen for runs of a kind; a sentence where that failed.

    Args:
        user: whose choice it is.
        kind: ``pretrain`` or ``probe``.
        keys: of the charts, in order; empty: those that are drawn when nobody has chosen.
    """
    charts = _read(state_path(user)).get("charts")
    known = charts if isinstance(charts, dict) else {}
    return _keep(user, "The charts are", {"charts": {**known, kind: list(keys)}})


def _keep(user: UserFile, subject: str, changes: Mapping[str, object]) -> str:
    """Writes changes into the file, and leaves the rest of it; a sentence where that failed."""
    path = state_path(user)
    try:
        text = tomli_w.dumps({**_read(path), **changes})
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, text.encode("utf-8"), durable=False, follow_folder=True)
    except OSError as error:
        return one_line(f"{subject} not remembered: {path} cannot be written: {reason(error)}.")
    return ""


def _read(path: Path) -> dict[str, object]:
    """What the file holds; nothing where it is missing or damaged: it is made anew then."""
    if is_gone(path):
        return {}
    try:
        return read_toml_file(path)
    except ConfigError:
        return {}


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _MOST_CHARACTERS and is_plain(text)
