"""What changes where a run goes on from another one's checkpoint, in words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from engine.config.schedule import learning_rate
from engine.config.schema import PretrainConfig
from engine.runs.branching import How
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.record import Branch
from moco_tui.present.form import set_text

_LENGTH = {"optim.epochs", "optim.stop_epoch"}


def rate_words(old: PretrainConfig, new: PretrainConfig, branch: Branch) -> str:
    """The learning rate at the end of the checkpoint's run so far, and that of the next step.

    A cosine that had come near zero rises again when its schedule gets longer.
    """
    step, epoch = branch["step"], branch["epoch"]
    per_epoch = round(step / epoch) if epoch else 1
    before = learning_rate(old.optim, max(step - 1, 0), per_epoch)
    after = learning_rate(new.optim, step, per_epoch)
    verb = "stays at" if before == after else "rises" if after > before else "falls"
    if before == after:
        return f"the learning rate {verb} {after:.4g} at epoch {epoch:.4g}"
    return f"the learning rate {verb} from {before:.4g} to {after:.4g} at epoch {epoch:.4g}"


def how_of(
    ref: CheckpointRef, old: Mapping[str, Any], new: Mapping[str, Any], *, finished: bool
) -> How:
    """Whether a run extends another one, or is a fork of it.

    Args:
        ref: the checkpoint that it goes on from.
        old: settings of the other run, by dotted key.
        new: its own.
        finished: whether the other run has come to its end.
    """
    extends = finished and not ref.which and not new.get("optim.stop_epoch")
    return "extend" if extends and changed(old, new).keys() <= _LENGTH else "fork"


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ, with their new values."""
    return {key: v for key, v in new.items() if key not in old or _plain(old[key]) != _plain(v)}


def branch_command(
    ref: CheckpointRef,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    finished: bool,
    name: str,
    detached: bool,
) -> str:
    """The command line that starts the same run.

    Args:
        ref: see ``how_of``.
        old: see there.
        new: see there.
        finished: see there.
        name: of the new run; may be empty.
        detached: in a process of its own.
    """
    if how_of(ref, old, new, finished=finished) == "extend":
        words = ["moco-tui", "extend", ref.folder.id, "--epochs", str(new["optim.epochs"])]
    else:
        words = ["moco-tui", "fork", ref.text]
        for key, value in changed(old, new).items():
            words += ["--set", f"{key}={set_text(value)}"]
    if name:
        words += ["--name", name]
    if detached:
        words.append("--detach")
    return shlex.join(words)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
