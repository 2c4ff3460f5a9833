"""Settings that had another name in earlier versions; the old names are still read everywhere.

In run folders, checkpoints and the index they are replaced in silence. An old name that a person
types (in a TOML file, ``--set``, a filter, a sort key) works, with a warning of one line that gives
the new name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

_PARTS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("augment", "color"): ("augment", "color_jitter"),
    ("augment", "gray"): ("augment", "grayscale"),
}
"""Sections of a pretraining as they were called, and as they are now."""

_VALUES: Mapping[str, Mapping[str, str]] = {
    "monitor.knn_features": {"trunk": "backbone"},
    "augment.order": {"color": "color_jitter", "gray": "grayscale"},
}
"""Values that were called otherwise, by the setting's name as it is now."""


class RenamedSetting(FutureWarning):
    """A person used a name of an earlier version; the message has the new one.

    A FutureWarning, since Python hides DeprecationWarning from the users of a program.
    """


def new_key(key: str) -> str:
    """The name that a setting has now, from any name that it had.

    Args:
        key: a dotted key, whole or its last parts (``augment.gray.p``, ``gray.p``), with or without
            the ``pretrain.`` of a study.

    Returns:
        ``key`` itself where it is no old name.
    """
    parts = tuple(key.split("."))
    head, rest = (parts[:1], parts[1:]) if parts[0] == "pretrain" else ((), parts)
    for old, new in _PARTS.items():
        if rest[: len(old)] == old:
            return ".".join((*head, *new, *rest[len(old) :]))
        tail = old[1:]  # ("gray",): a key may be given by its last parts, see values.expand_key
        if rest[: len(tail)] == tail:
            return ".".join((*head, *new[1:], *rest[len(tail) :]))
    return key


def new_value(key: str, value: Any) -> Any:
    """The name that a value of a setting has now.

    Args:
        key: name of the setting as it is now, whole or its last part.
        value: a text, a list of texts, or anything else, which comes back as it is.
    """
    # With "pretrain." before it, a whole key ends in "." + key just as its tails do.
    names = next((n for k, n in _VALUES.items() if f"pretrain.{k}".endswith(f".{key}")), None)
    names = names or _VALUES.get(key.removeprefix("pretrain."))
    if names is None:
        return value
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list | tuple):
        return type(value)(names.get(v, v) if isinstance(v, str) else v for v in value)
    return value


def renamed(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys and values under the names that they have now."""
    # Keys first: ``_VALUES`` knows settings by their new names.
    keys = {new_key(key): value for key, value in flat.items()}
    return {key: new_value(key, value) for key, value in keys.items()}


def renamed_tree(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration under the names that its keys and values have now."""
    out: dict[str, Any] = {}
    for name, value in tree.items():
        key = new_key(f"{prefix}{name}")
        inner = renamed_tree(value, f"{key}.") if isinstance(value, Mapping) else value
        out[key.rpartition(".")[2]] = new_value(key, inner)
    return out


def warn_renamed(old: str, new: str) -> None:
    """Warn a person who typed an old name, in one line."""
    # 3: blamed on the caller of the function that met the name.
    warnings.warn(f"{old} is called {new} now; the old name still works.", RenamedSetting, 3)
