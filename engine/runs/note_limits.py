"""What the name, the tags and the note may be that people give a run, written and read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.errors import RunError
from engine.text import clean_text

NAME_LIMIT = 200
TAG_LIMIT = 50
NOTE_LIMIT = 1000
TAGS_MOST = 1000
LATEST = "latest"
"""The word by which people mean the newest run; no run may be called so."""
_CHECKPOINT = re.compile(r".*@(best|last|[0-9]+)", re.DOTALL)
"""By such an end people mean a checkpoint of a run; see ``checkpoint_ref``."""


def checked_name(name: str) -> str:
    """A name of a run as it is stored: one line of at most 200 characters.

    Raises:
        RunError: when it is the word ``latest``, or ends as a checkpoint of a run does.
    """
    name = clean_text(name, NAME_LIMIT)
    if name == LATEST:
        raise RunError("latest always means the newest run; choose another name.")
    if _CHECKPOINT.fullmatch(name):
        end = name[name.rindex("@") :]
        raise RunError(
            f"A name that ends in {end[:20]} means a checkpoint of a run; choose another name."
        )
    return name


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as they are stored: no spaces, each once, sorted."""
    # A hyphen for each space: a space would end the tag in a filter (tag:keep).
    cleaned = ("-".join(clean_text(tag, 4 * TAG_LIMIT).split())[:TAG_LIMIT] for tag in tags)
    return tuple(sorted({tag for tag in cleaned if tag}))


def check_tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The tags, which are to be written.

    Raises:
        RunError: when there are more than are read back.
    """
    if len(tags) > TAGS_MOST:
        raise RunError(f"A run may have {TAGS_MOST:,} tags; these would be {len(tags):,}.")
    return tags
