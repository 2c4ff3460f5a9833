"""What the form says of the setting in focus."""

from __future__ import annotations

from engine.config.fields import Field
from moco_tui.present import fmt, form_fields
from moco_tui.present import study_form as studyform
from moco_tui.present.form import FormState
from moco_tui.present.lines import Line


def field_help(field: Field, state: FormState, wrong: str) -> list[Line]:
    """Key and help of a setting; its range with the value of the preset, or what is wrong.

    Args:
        field: in focus.
        state: the settings.
        wrong: why its value cannot be used; empty where it can.
    """
    first = [(field.key, "strong"), (f"  {field.help}", "")]
    if wrong:
        return [first, [(wrong, "bad")]]
    origin = "preset" if state.preset else "default"
    base = f"{origin}: {fmt.value(state.base[field.key])}"
    parts = [form_fields.range_hint(field), base]
    if state.is_changed(field.key):
        typed = state.is_typed(field.key)
        parts.append(f"{'typed' if typed else state.start.words or 'changed'}; Ctrl+R resets it")
    return [first, [("   ".join(part for part in parts if part), "")]]


def axis_help(key: str, wrong: str) -> list[Line]:
    """The same of an axis of a study."""
    field = studyform.varied_fields().get(key)
    first = [(key, "strong"), (f"  {field.help if field else 'settings together'}", "")]
    if wrong:
        return [first, [(wrong, "bad")]]
    return [first, [(f"{studyform.values_hint(key)}   F9 removes it", "")]]


def form_help() -> list[Line]:
    """What is said where no setting is in focus."""
    return [
        [("Up and Down move, Left and Right choose, Enter opens a section.", "")],
        [("• differs from the preset   ✗ has to be put right   Ctrl+R resets a row, F10 all", "")],
    ]
