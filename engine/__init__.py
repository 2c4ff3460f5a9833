"""Momentum contrast, its probes and its runs: a library that knows nothing of the terminal.

``engine.api`` says what is offered here, with examples. Each name is imported when it is first
used: ``import engine`` alone takes no time, and the first screen of the app needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api.configurations import (
        pretrain_config,
        probe_config,
        settings_of_config,
        study_config,
    )
    from engine.api.opened_run import Run
    from engine.api.pretrained_encoder import PretrainedEncoder
    from engine.api.progress_reports import ProgressReport
    from engine.api.study_results import StudyResults
    from engine.api.workspace import Workspace, open_run

__all__ = [
    "PretrainedEncoder",
    "ProgressReport",
    "Run",
    "StudyResults",
    "Workspace",
    "open_run",
    "pretrain_config",
    "probe_config",
    "settings_of_config",
    "study_config",
]

# Other projects call a package engine, too: by this line the app knows its own (moco_tui.__main__).
__distribution__ = "moco-tui"

_MODULES = {
    "PretrainedEncoder": "pretrained_encoder",
    "ProgressReport": "progress_reports",
    "Run": "opened_run",
    "StudyResults": "study_results",
    "Workspace": "workspace",
    "open_run": "workspace",
    "pretrain_config": "configurations",
    "probe_config": "configurations",
    "settings_of_config": "configurations",
    "study_config": "configurations",
}


def __getattr__(name: str) -> Any:
    """What is offered, imported when it is asked for."""
    if name == "errors":  # what a script catches, before it has used anything else
        return importlib.import_module("engine.errors")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"engine.api.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
