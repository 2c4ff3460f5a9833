"""The rows of the form: a label, an editor, and what the value must be or why it is wrong."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config.fields import Field
from moco_tui.present import fmt, form, form_fields
from moco_tui.widgets.choosers import Checkbox, Chooser
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.named_keys import NamedKeys
from moco_tui.widgets.shown_text import show_text

INPUT_LIMIT = 4000
"""Characters that a field takes."""


class FormRow(Horizontal):
    """A label, an editor and a hint, in one line.

    Args:
        text: the label.
        editor: the widget that edits the value.
        hint: what the value must be, shown while it is right.
    """

    DEFAULT_CSS = """
    FormRow { height: 1; width: 1fr; }
    FormRow .label { width: 21; color: $foreground; }
    FormRow.-sub .label { color: $text-muted; }
    FormRow .hint { width: 3fr; color: $text-muted; padding-left: 1; text-wrap: nowrap;
        text-overflow: ellipsis; }
    FormRow Input { width: 2fr; min-width: 22; background: $panel; }
    FormRow Chooser, FormRow Checkbox { width: 2fr; min-width: 22; }
    FormRow Input:focus { background: $primary 60%; color: $text; }
    FormRow.-changed .label { text-style: bold; color: $text-accent; }
    FormRow.-wrong .hint { color: $text-error; }
    FormRow.-wrong .label { color: $text-error; }
    """

    def __init__(self, text: str, editor: Widget, hint: str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.called, self.hint = text, hint
        self._marked = (False, "")
        self.editor = editor

    def compose(self) -> ComposeResult:
        """The three parts."""
        yield Static(self._label(""), classes="label", markup=False)
        yield self.editor
        yield Static(self.hint, classes="hint", markup=False)

    def _label(self, mark: str) -> str:
        return f"{mark or ' '} {self.called}"

    def say(self, hint: str) -> None:
        """Show another hint; what is wrong goes before it."""
        self.hint = hint
        if not self._marked[1]:
            show_text(self.query_one(".hint", Static), hint)

    def mark(self, *, changed: bool, error: str) -> None:
        """Show whether the value differs from the preset, and why it is wrong."""
        # All rows are marked on every key; without the comparison each would be drawn anew.
        if not self.is_mounted or self._marked == (changed, error):
            return
        self._marked = (changed, error)
        self.set_class(changed, "-changed")
        self.set_class(bool(error), "-wrong")
        sign = "✗" if error else "•" if changed else ""
        show_text(self.query_one(".label", Static), self._label(sign))
        show_text(self.query_one(".hint", Static), fmt.clean(error) if error else self.hint)


class FieldRow(FormRow):
    """A row that edits one field of a configuration.

    Args:
        field: what it edits.
        state: holds the value.
        sub: whether it belongs to the row above.
        called: its label; empty for the field's own.
    """

    class Edited(Message):
        """The person changed the value; ``state`` is the form that the row was made for."""

        def __init__(self, key: str, value: Any, state: form.FormState) -> None:
            super().__init__()
            self.key, self.value, self.state = key, value, state

    def __init__(
        self, field: Field, state: form.FormState, *, sub: bool = False, called: str = ""
    ) -> None:
        self.field = field
        self.state = state
        super().__init__(
            ("  " if sub else "") + (called or form_fields.label(field.key)),
            self.make_editor(),
            form_fields.range_hint(field) or field.help,
            id="f-" + field.key.replace(".", "-"),
        )
        self.set_class(sub, "-sub")

    def make_editor(self) -> Widget:
        """The widget that edits the value, with the value of now."""
        field, state = self.field, self.state
        if field.kind == "bool":
            return Checkbox(bool(state.values[field.key]))
        if field.kind == "choice":
            return Chooser([(c, c) for c in field.choices], str(state.values[field.key]))
        # Offered while typing, but any other text may be entered.
        known = ["binary, five, ten"] if field.key == "tasks" else []
        return LineInput(
            state.text(field.key),
            compact=True,
            max_length=INPUT_LIMIT,
            suggester=SuggestFromList(known, case_sensitive=False) if known else None,
            select_on_focus=False,
        )

    def editors(self) -> list[Widget]:
        """All widgets of the row that can have the focus."""
        return [self.editor]

    def refill(self) -> None:
        """Show the state's value, after another preset was chosen."""
        value = self.state.values[self.field.key]
        # Input posts Changed for an assignment too: it would be taken for typed, and the text,
        # which may show fewer digits than the value has, be parsed back. The others do not.
        with self.prevent(Input.Changed):
            if isinstance(self.editor, Checkbox):
                self.editor.value = bool(value)
            elif isinstance(self.editor, Chooser):
                self.editor.value = str(value)
            elif isinstance(self.editor, Input):
                self.editor.value = self.state.text(self.field.key)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.field.key, event.value, self.state))

    @on(Checkbox.Changed)
    def _checked(self, event: Checkbox.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.field.key, event.checkbox.value, self.state))

    @on(Chooser.Changed)
    def _chosen(self, event: Chooser.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.field.key, event.choice.value, self.state))


class SectionHead(NamedKeys, Static, can_focus=True):
    """The head of a section; Enter or a click opens and closes it.

    Args:
        title: what the section is called.
        section: the part of the configuration, such as ``moco``.
        count: how many settings it has.
    """

    DEFAULT_CSS = """
    SectionHead { height: 1; width: 1fr; text-style: bold; color: $foreground; }
    SectionHead:focus { background: $primary 60%; color: $text; }
    SectionHead.-wrong { color: $text-error; }
    """
    HELP_TITLE = "A section"
    HELP = """Enter opens or closes the section."""
    BINDINGS = [Binding("enter,space", "fold", "Open or close", show=False)]

    class Toggled(Message):
        """Opened or closed."""

        def __init__(self, head: SectionHead) -> None:
            super().__init__()
            self.head = head

    def __init__(self, title: str, section: str, count: int) -> None:
        super().__init__(markup=False)
        self.title, self.section, self.count = title, section, count
        self.open = False
        self._changed = self._wrong = 0

    def on_mount(self) -> None:
        """Show the title."""
        self.note(0, 0)

    def note(self, changed: int, wrong: int) -> None:
        """Show how many fields inside differ from the preset or are wrong."""
        self._changed, self._wrong = changed, wrong
        text = f"{'▾' if self.open else '▸'} {self.title}"
        if not self.open:
            text += f"  {self.count} setting{'s' * (self.count > 1)}"
        if changed:
            text += f"  • {changed} changed"
        if wrong:
            text += f"  ✗ {wrong} wrong"
        self.set_class(bool(wrong), "-wrong")
        show_text(self, text)

    def action_fold(self) -> None:
        """Open or close."""
        self.open = not self.open
        self.note(self._changed, self._wrong)
        self.post_message(self.Toggled(self))

    def on_click(self) -> None:
        """A click opens or closes."""
        self.action_fold()
