"""Schema versions of what is on disk: newer ones are refused, older ones are migrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import DamagedFileError, RunError

Migration = Callable[[dict[str, Any]], dict[str, Any]]


def upgrade(
    payload: Any, *, current: int, steps: Mapping[int, Migration], what: str
) -> dict[str, Any]:
    """The payload in the current schema.

    Args:
        payload: what was decoded; a mapping with a whole number under ``schema``.
        current: the schema that this program knows.
        steps: for every older schema the function that leads to the next one.
        what: name of the file, for the message.

    Raises:
        RunError: when the payload is no such mapping, is of a newer schema, or is so old that no
            step is known.
    """
    # type, not isinstance: true is no version.
    if not isinstance(payload, dict) or type(payload.get("schema")) is not int:
        raise DamagedFileError(f"{what} is damaged: it holds no schema version.")
    version: int = payload["schema"]
    if version > current:  # a field that this version does not know would be lost on saving
        raise RunError(
            f"{what} was written by a newer moco-tui (schema {version}, this one knows {current}); "
            "update moco-tui to use it."
        )
    while version < current:
        if version not in steps:
            # Also 0 and negative versions, which nothing has ever written.
            raise RunError(f"{what} has schema {version}, which this moco-tui cannot migrate.")
        payload = steps[version](payload)
        version += 1
        payload["schema"] = version  # set here, so that no step can forget it
    return dict(payload)
