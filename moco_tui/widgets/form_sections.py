"""The rows of a section of the form, made from the settings that are in it."""

from __future__ import annotations

from textual.containers import Vertical
from textual.widget import Widget

from engine.config.augment import AUGMENTATIONS
from moco_tui.present import form_fields
from moco_tui.present.form import FormState
from moco_tui.widgets.open_rows import field_row
from moco_tui.widgets.study_axes import ablation_rows


def section_id(section: str) -> str:
    """The id of the widget that holds the rows of a section."""
    return "s-" + (section.replace(".", "-") or "top")


def keys_of(section: str, state: FormState) -> list[str]:
    """The fields of a section, but for those that stand at the top of the form."""
    if section.endswith("augment"):
        return [key for key in state.known if key.startswith(section + ".")]
    if section == "ablate":
        return ["ablate"]
    # Axes and ablations have rows of their own.
    shown = (*form_fields.ESSENTIAL[state.kind], "axes", "ablate")
    return [
        key for key, field in state.known.items() if field.section == section and key not in shown
    ]


def rows_of(section: str, state: FormState) -> list[Widget]:
    """The rows of a section."""
    if section == "ablate":
        return list(ablation_rows(state))
    if section.endswith("augment"):
        return augmentation_rows(state)
    return [field_row(state.known[key], state) for key in keys_of(section, state)]


def augmentation_rows(state: FormState) -> list[Widget]:
    """A switch for each augmentation, its settings below it while it is on, and their order."""
    rows: list[Widget] = []
    known, start = state.known, state.within + "augment."
    for name in AUGMENTATIONS:
        # ``enabled`` is the first field of every augmentation's settings
        head, *keys = [key for key in known if key.startswith(f"{start}{name}.")]
        rows.append(field_row(known[head], state, called=name))
        inner = Vertical(
            *(field_row(known[key], state, sub=True) for key in keys),
            id=f"a-{name}",
            classes="rows",
        )
        inner.display = bool(state.values[head])
        rows.append(inner)
    return [*rows, field_row(known[start + "order"], state)]
