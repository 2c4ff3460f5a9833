"""What the form for a new run begins with: a preset, and over it the user's own defaults."""

from __future__ import annotations

from moco_tui.present.form import FormState
from moco_tui.user.user_schema import FormDefaults

FIRST_PRESET = "notebook"


def first_form(kind: str, defaults: FormDefaults) -> FormState:
    """The form of a kind of run before anything is typed.

    Args:
        kind: ``pretrain``, ``probe`` or ``study``.
        defaults: the user's own; a preset that is chosen afterwards begins without them.
    """
    state = FormState(kind, preset=FIRST_PRESET)
    for key, value in getattr(defaults, kind).items():
        if key in state.known:
            # As if typed: the person wrote them, and the code that they may name is theirs.
            state.set(key, value)
    return state
