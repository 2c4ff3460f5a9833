"""The part of the form that says what a study varies: a row for each axis, and the ablation."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from engine.config.augment import AUGMENTATIONS
from moco_tui.present import fmt, form
from moco_tui.present import study_form as studyform
from moco_tui.widgets.choosers import Checkbox
from moco_tui.widgets.form_rows import INPUT_LIMIT, FormRow
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.named_keys import NamedKeys
from moco_tui.widgets.shown_text import show_text


class AxisRow(FormRow):
    """The values of one axis.

    Args:
        key: the setting, or ``recipe``.
        text: its values as typed.
    """

    DEFAULT_CSS = """
    AxisRow > .remove { width: 4; color: $text-muted; }
    AxisRow > .remove:hover { background: $primary; color: $text; }
    """

    class Removed(Message):
        """The setting is to be varied no more."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    class Edited(Message):
        """Its values were typed."""

        def __init__(self, key: str, text: str) -> None:
            super().__init__()
            self.key, self.text = key, text

    def __init__(self, key: str, text: str) -> None:
        editor = LineInput(text, compact=True, max_length=INPUT_LIMIT, select_on_focus=False)
        super().__init__(
            fmt.clean(key.removeprefix("augment.")), editor, studyform.values_hint(key)
        )
        self.key = key

    def compose(self) -> ComposeResult:
        """The parts of every row, and what a click removes it by."""
        yield from super().compose()
        yield Static("[x]", classes="remove", markup=False)

    def on_click(self, event: events.Click) -> None:
        """A click on the cross removes the axis."""
        if event.widget is not None and event.widget.has_class("remove"):
            event.stop()
            self.remove_axis()

    def remove_axis(self) -> None:
        """Vary the setting no more."""
        self.post_message(self.Removed(self.key))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.key, event.value))


class AddAxis(NamedKeys, Static, can_focus=True):
    """The line that adds an axis; Enter, Space or a click."""

    DEFAULT_CSS = """
    AddAxis { height: 1; width: 1fr; color: $text-muted; }
    AddAxis:focus { background: $primary; color: $text; text-style: bold; }
    AddAxis.-wrong { color: $text-error; }
    """
    HELP_TITLE = "What is varied"
    HELP = """Enter chooses a setting to vary. In the line of one, its values stand with commas
between them; F9 takes the line away."""
    BINDINGS = [Binding("enter,space", "add", "Vary another setting", show=False)]

    class Asked(Message):
        """Another setting is to be varied."""

    def action_add(self) -> None:
        """Ask which."""
        self.post_message(self.Asked())

    def on_click(self) -> None:
        """Ask which."""
        self.action_add()


class AblationRow(FormRow):
    """Whether an augmentation is left out in turn.

    Args:
        name: of the augmentation; ``augment`` for all that are on.
        on: whether it is.
        hint: what it does.
    """

    class Switched(Message):
        """Another choice."""

        def __init__(self, name: str, on: bool) -> None:
            super().__init__()
            self.name, self.on = name, on

    def __init__(self, name: str, on: bool, hint: str) -> None:
        shown = "all of them" if name == "augment" else name.replace("_", " ")
        super().__init__(fmt.clean(f"  {shown}"), Checkbox(on), hint)
        self.augmentation = name

    @on(Checkbox.Changed)
    def _switched(self, event: Checkbox.Changed) -> None:
        event.stop()
        self.post_message(self.Switched(self.augmentation, event.checkbox.value))


class StudyAxes(Vertical):
    """What a study varies.

    Args:
        drafts: its axes as they are typed.
    """

    DEFAULT_CSS = "StudyAxes { height: auto; width: 1fr; }"

    class Changed(Message):
        """Another axis, other values, or another ablation."""

    def __init__(self, drafts: studyform.AxisDrafts) -> None:
        super().__init__(id="axes")
        self.drafts = drafts

    def compose(self) -> ComposeResult:
        """A row for each axis, the line that adds one."""
        yield Static("What is varied", classes="group", markup=False)
        for key, text in self.drafts.texts.items():
            yield AxisRow(key, text)
        yield AddAxis(_ADD, id="add-axis", markup=False)

    @on(AxisRow.Edited)
    def _edited(self, event: AxisRow.Edited) -> None:
        event.stop()
        if event.key in self.drafts.texts:  # it may have been removed since
            self.drafts.type(event.key, event.text)
            self.post_message(self.Changed())

    @on(AxisRow.Removed)
    async def _removed(self, event: AxisRow.Removed) -> None:
        event.stop()
        self.drafts.remove(event.key)
        self.query_one(AddAxis).focus()
        for row in self.query(AxisRow):
            if row.key == event.key:
                await row.remove()
        self.post_message(self.Changed())

    async def add(self, key: str) -> None:
        """Vary a setting; the focus goes to its values."""
        if key not in self.drafts.texts:
            self.drafts.add(key)
            await self.mount(AxisRow(key, self.drafts.texts[key]), before=self.query_one(AddAxis))
        for row in self.query(AxisRow):
            if row.key == key:
                row.editor.focus()
        self.post_message(self.Changed())

    async def refill(self) -> None:
        """Show the axes of the state, after another preset was chosen."""
        before = dict(self.drafts.texts)
        self.drafts.lay_again()
        if self.drafts.texts != before:
            await self.recompose()

    def mark(self, problems: Mapping[str, str]) -> None:
        """Mark what is wrong: at its axis, or else in the last line."""
        for row in self.query(AxisRow):
            row.mark(changed=False, error=self.drafts.wrong.get(row.key, ""))
        whole = "" if self.drafts.wrong else problems.get("axes", "") or problems.get("ablate", "")
        for line in self.query(AddAxis):
            line.set_class(bool(whole), "-wrong")
            show_text(line, fmt.clean(f"✗ {whole}") if whole else _ADD)

    def go_to_wrong(self) -> None:
        """Focus the first axis that is wrong, or the last line."""
        for row in self.query(AxisRow):
            if row.key in self.drafts.wrong:
                row.editor.focus()
                return
        self.query_one(AddAxis).focus()


_ADD = "+ vary another setting (Enter)"


def ablation_rows(state: form.FormState) -> list[AblationRow]:
    """A check box for all augmentations that are on, and one for each."""
    chosen, on = studyform.ablated(state), studyform.enabled(state)
    whole = "augment" in state.values["ablate"]
    rows = [AblationRow("augment", whole, "each left out, and each alone")]
    for name in dict.fromkeys([*on, *AUGMENTATIONS]):
        hint = "" if name in on else "off in the settings of the study"
        rows.append(AblationRow(name, name in chosen, hint))
    return rows
