"""Which settings the forms of two kinds of run have in common."""

from __future__ import annotations

from typing import Any

from moco_tui.present.form import FormState


def shared_key(key: str, kind: str, other: str) -> str:
    """The key of a setting in the form of another kind of run; empty where that has none like it.

    Args:
        key: dotted, in the form of ``kind``.
        kind: ``pretrain``, ``probe`` or ``study``.
        other: another of them.
    """
    if other == "study":
        return f"{kind}.{key}"
    if kind == "study":
        return key.removeprefix(f"{other}.") if key.startswith(f"{other}.") else ""
    # The data of a probe are not those of a pretraining, whatever their name.
    return key if key.startswith("runtime.") else ""


def typed_for(state: FormState, other: str) -> dict[str, Any]:
    """What a person has typed in a form, by the keys that another kind of run has for it."""
    found = {
        shared_key(key, state.kind, other): value
        for key, value in (state.carried | state.typed).items()
    }
    found.pop("", None)
    if other == "study" and "pretrain.runtime.device" in found:  # its probes use the same
        found.setdefault("probe.runtime.device", found["pretrain.runtime.device"])
    return found
