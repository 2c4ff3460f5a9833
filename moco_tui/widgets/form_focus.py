"""Which field of the form has the focus."""

from __future__ import annotations

from functools import partial

from moco_tui.present import form_fields
from moco_tui.widgets.form_rows import FieldRow, SectionHead
from moco_tui.widgets.form_sections import keys_of
from moco_tui.widgets.run_form import RunForm
from moco_tui.widgets.study_axes import AblationRow, StudyAxes


def focus_first(form: RunForm) -> None:
    """Focus the setting that matters most, as soon as its row is mounted.

    A focus that was set in the meantime stays where it is.
    """
    if form.screen.focused is not None:
        return
    first = "#f-" + form_fields.FIRST[form.state.kind].replace(".", "-")
    for row in form.query(first).results(FieldRow):
        if row.editor.is_mounted:
            form.screen.set_focus(row.editor)
            return
    form.set_timer(
        0.01, partial(focus_first, form)
    )  # a row mounts its editor after itself: try again


async def go_to(form: RunForm, key: str) -> None:
    """Put the focus on a field, opening its section."""
    if key == "parent":
        form.query_one("#parent").focus()
        return
    if key == "axes":
        form.query_one(StudyAxes).go_to_wrong()
        return
    if key not in form.state.known:
        return
    for head in form.query(SectionHead):
        if key in keys_of(head.section, form.state) and not head.open:
            head.open = True
            await form.open_section(head)
            form.post_message(form.Changed())
    for row in form.query(FieldRow):
        if row.field.key == key:
            row.editor.focus()
    if key == "ablate":
        form.query(AblationRow).first().editor.focus()
