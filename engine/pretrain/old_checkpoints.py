"""Checkpoints of earlier versions, brought up to date when they are loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from engine.config.renamed import renamed
from engine.runs.migrations import Migration

_MODULES = (
    (re.compile(r"^(encoder_[qk])\.trunk\."), r"\1.backbone."),
    (re.compile(r"^(encoder_[qk])\.head\."), r"\1.projection_head."),
    (re.compile(r"^pointer$"), "queue_ptr"),
)
"""Names in a model's state dict as they were, and as they are now."""


def _from_1(state: dict[str, Any]) -> dict[str, Any]:
    """Version 0.1: other names of the modules and of some settings; nothing is computed anew."""
    if state.get("kind") == "pretrain":
        config = json.loads(state["config"])
        state["config"] = json.dumps(renamed(config), sort_keys=True)
        state["model"] = {_module(name): value for name, value in state["model"].items()}
    return state


def _module(name: str) -> str:
    for old, new in _MODULES:
        name = old.sub(new, name)
    return name


MIGRATIONS: Mapping[int, Migration] = {1: _from_1}
"""For every older schema of a checkpoint the step to the next one."""
