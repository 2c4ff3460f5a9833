"""What the form for a new run begins with: the last run of its kind, or a preset.

Over the preset lie the user's own defaults; over neither of them what the last run had not.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.config.fields import fields
from engine.config.presets import presets_of
from engine.config.schema import KINDS
from engine.config.values import check_leaf
from engine.errors import ConfigError
from moco_tui.present.form import FormStart, FormState, name_own_code
from moco_tui.user.last_forms import LastForm
from moco_tui.user.user_schema import FormDefaults

FIRST_PRESET = "notebook"
AS_LAST_RUN = "as last run"
_OF_PARENT = ("task.name", "task.groups", "data.source")


def first_form(kind: str, defaults: FormDefaults, last: LastForm | None = None) -> FormState:
    """The form of a kind of run before anything is typed.

    Args:
        kind: ``pretrain``, ``probe`` or ``study``.
        defaults: the user's own; a preset that is chosen afterwards begins without them.
        last: what was last run of this kind; None: the form begins with the preset.
    """
    known, own = fields(KINDS[kind]), dict[str, Any](getattr(defaults, kind))
    for key in own.keys() & known.keys():
        # As if typed: the person wrote them, and the code that they may name is theirs.
        name_own_code(known[key], own[key])
    preset = FIRST_PRESET if FIRST_PRESET in presets_of(KINDS[kind]) else ""
    pure = FormStart(preset, own, "with your own defaults" if own else "")
    if last is None:
        return FormState(kind, preset=preset, values=own, words=pure.words, pure=pure)
    values = {key: value for key, value in last.values.items() if _is_right(kind, key, value)}
    return FormState(kind, preset=last.preset, values=values, words=AS_LAST_RUN, pure=pure)


def last_form(state: FormState, parent: str = "") -> LastForm:
    """What a form leaves to the next one.

    Args:
        state: of a run that begins.
        parent: id of the pretraining that a probe is of.
    """
    return LastForm(state.preset, msgspec.to_builtins(state.lasting()), parent)


def of_parent(last: LastForm | None, parent: str) -> LastForm | None:
    """The last probe, for the form of one of this pretraining: a task suits its own alone."""
    if last is None or last.parent == parent:
        return last
    kept = {key: value for key, value in last.values.items() if key not in _OF_PARENT}
    return LastForm(last.preset, kept, parent)


def _is_right(kind: str, key: str, value: Any) -> bool:
    """Whether a setting that was remembered, maybe by another version, can still be made."""
    field = fields(KINDS[kind]).get(key)
    if field is None:
        return False
    try:
        check_leaf(field, KINDS[kind], value)
    except ConfigError:
        return False
    return True
