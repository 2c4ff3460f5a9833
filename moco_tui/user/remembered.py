"""What the app remembers of its own accord, in ``state.toml`` beside the user's configuration.

In a file of its own: a person's file, with its comments, is changed only when a person asks for it.
What was chosen in the app holds until the configuration names something else than it did then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from msgspec import Struct

from engine.config.toml_file import read_toml_file
from engine.errors import ConfigError
from engine.files import is_gone, reason, replace_file
from engine.text import is_plain, one_line
from moco_tui.user.user_file import UserFile

_MOST_CHARACTERS = 200  # of the name of a theme, a column or a chart
_MOST_CHARTS = 16
_MOST_COLUMNS = 60
_MOST_BASELINES = 50  # runs folders whose baseline is remembered, the last ones


class ListMemory(Struct, frozen=True):
    """How the list of runs was left.

    Attributes:
        columns: names of its columns in order; empty: those that suit the width.
        sort: what it is sorted by; empty: as it begins.
        reverse: the other way round.
        by_seed: runs that differ by their seed alone are one line.
    """

    columns: tuple[str, ...] = ()
    sort: str = ""
    reverse: bool = False
    by_seed: bool = False


def state_path(user: UserFile) -> Path:
    """The file beside the user's configuration."""
    return user.path.parent / "state.toml"


# --------------------------------------------------------------------------------------------
# The theme


def theme_of(user: UserFile) -> tuple[str, Path | None]:
    """The theme that holds, and the file that says so; both empty where none does."""
    state = _read(state_path(user))
    chosen, over = state.get("theme"), state.get("over", "")
    if _is_name(chosen) and over == user.config.theme:
        return str(chosen), state_path(user)
    return user.config.theme, user.path if "theme" in user.given else None


def remember_theme(user: UserFile, theme: str) -> str:
    """Keeps a theme that was chosen in the app; a sentence where that failed, else nothing."""
    return _keep(user, "The theme is", {"theme": theme, "over": user.config.theme})


# --------------------------------------------------------------------------------------------
# The list of runs


def columns_of(user: UserFile) -> tuple[tuple[str, ...], Path | None]:
    """The columns that hold, and the file that says so; both empty where none does."""
    table = _runs(user)
    chosen, over = table.get("columns"), table.get("columns_over", [])
    given = user.config.columns.runs
    if isinstance(chosen, list) and list(given) == over:
        return tuple(name for name in chosen[:_MOST_COLUMNS] if _is_name(name)), state_path(user)
    return given, user.path if "columns.runs" in user.given else None


def list_memory(user: UserFile) -> ListMemory:
    """How the list of runs was left."""
    table = _runs(user)
    sort = table.get("sort")
    return ListMemory(
        columns_of(user)[0],
        str(sort) if _is_name(sort) else "",
        table.get("reverse") is True,
        table.get("by_seed") is True,
    )


def remember_list(user: UserFile, memory: ListMemory) -> str:
    """Keeps how the list of runs was left; a sentence where that failed, else nothing."""
    table: dict[str, Any] = {
        "sort": memory.sort,
        "reverse": memory.reverse,
        "by_seed": memory.by_seed,
    }
    if memory.columns != columns_of(user)[0]:
        table |= {
            "columns": list(memory.columns),
            "columns_over": list(user.config.columns.runs),
        }
    return _keep(user, "The list of runs is", {"runs": {**_runs(user), **table}})


def baseline_of(user: UserFile, root: Path) -> str:
    """Id of the run of a folder that others are compared with; empty where none is pinned."""
    found = _baselines(user).get(str(root))
    return str(found) if _is_name(found) else ""


def remember_baseline(user: UserFile, root: Path, run_id: str) -> str:
    """Keeps the baseline of a runs folder; a sentence where that failed, else nothing.

    Args:
        user: whose memory it is.
        root: absolute path of the runs folder.
        run_id: of the run; empty: none any more.
    """
    kept = {folder: found for folder, found in _baselines(user).items() if folder != str(root)}
    kept |= {str(root): run_id} if run_id else {}
    newest = dict(list(kept.items())[-_MOST_BASELINES:])
    return _keep(user, "The baseline is", {"runs": {**_runs(user), "baselines": newest}})


def _baselines(user: UserFile) -> Mapping[str, Any]:
    found = _runs(user).get("baselines")
    return found if isinstance(found, dict) else {}


def _runs(user: UserFile) -> Mapping[str, Any]:
    found = _read(state_path(user)).get("runs")
    return found if isinstance(found, dict) else {}


def charts_of(user: UserFile, kind: str) -> list[str]:
    """Keys of the charts that were chosen for runs of a kind, in order; empty where none were."""
    charts = _read(state_path(user)).get("charts")
    keys = charts.get(kind) if isinstance(charts, dict) else None
    if not isinstance(keys, list):
        return []
    return [key for key in keys[:_MOST_CHARTS] if _is_name(key)]


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


# --------------------------------------------------------------------------------------------
# The file


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


def _read(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where it is missing or damaged: it is made anew then."""
    if is_gone(path):
        return {}
    try:
        return read_toml_file(path)
    except ConfigError:
        return {}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _MOST_CHARACTERS and is_plain(name)
