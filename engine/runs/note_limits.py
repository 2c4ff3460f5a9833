"""How long the texts may be that people give a run, written and read."""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import RunError
from engine.text import clean_text

NAME_LIMIT = 200
TAG_LIMIT = 50
NOTE_LIMIT = 1000
TAGS_MOST = 1000


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
