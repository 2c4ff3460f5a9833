"""What was last run from the form, of each kind of run, in a file beside the configuration.

In a file of its own, which is written whole: what cannot be read is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import UserError
from engine.files import is_gone, read_plain, reason, replace_file
from engine.text import one_line
from moco_tui.user.user_file import UserFile

_MOST_BYTES = 1 << 20


class LastForm(Struct, frozen=True):
    """What was run.

    Attributes:
        preset: empty for the defaults.
        values: the settings that differ from it, by dotted key.
        parent: id of the pretraining that a probe was of.
    """

    preset: str = ""
    values: dict[str, Any] = {}
    parent: str = ""


def forms_path(user: UserFile) -> Path:
    """The file beside the user's configuration."""
    return user.path.parent / "last-forms.json"


def read_forms(user: UserFile) -> dict[str, LastForm]:
    """What was last run, by kind; nothing of a file that is missing or damaged."""
    path = forms_path(user)
    if is_gone(path):
        return {}
    try:
        return msgspec.json.decode(read_plain(path, _MOST_BYTES), type=dict[str, LastForm])
    except (OSError, UserError, ValueError, RecursionError):
        return {}


def write_forms(user: UserFile, forms: Mapping[str, LastForm]) -> str:
    """Keeps what was last run; a sentence where that failed, else nothing."""
    path = forms_path(user)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, msgspec.json.encode(forms), durable=False, follow_folder=True)
    except OSError as error:
        return one_line(f"The form is not remembered: {path} cannot be written: {reason(error)}.")
    return ""
