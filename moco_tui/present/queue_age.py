"""How old the keys of a queue are, in steps: the oldest is one that is about to leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config.queue_fill import steps_to_fill


def queue_words(config: Mapping[str, Any]) -> str:
    """The age of the oldest key, in steps: as many as it takes to fill the queue.

    Args:
        config: of a pretraining, nested.
    """
    steps = steps_to_fill(config)
    return f"oldest key {steps:,} step{'' if steps == 1 else 's'}" if steps else ""
