"""The dialog that chooses the setting that a study is to vary."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.config.fields import Field
from moco_tui.present import fmt, form_fields
from moco_tui.present import study_form as studyform
from moco_tui.screens.typed_list_dialog import TypedListDialog
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.panel import Dialog
from moco_tui.widgets.shown_text import show_text

_KEY_WIDTH = 30


class SettingChoice(TypedListDialog[str | None]):
    """Asks for a setting by a list that what is typed narrows; Escape answers None.

    Args:
        taken: keys that are varied already, which are left out.
    """

    DEFAULT_CSS = """
    SettingChoice {
        align: center middle;
        & Dialog { width: 96; height: 90%; padding: 0 1; }
        & Input { background: $panel; }
        & OptionList { height: 1fr; border: none; padding: 0; background: $surface;
            scrollbar-size-vertical: 1; }
        & #about { height: 3; color: $text-muted; }
    }
    """
    BINDINGS = [Binding("escape", "cancel", "Cancel")]
    PAGE = 8

    def __init__(self, taken: set[str]) -> None:
        super().__init__()
        self._taken = taken
        self._fields: list[Field] = []

    def compose(self) -> ComposeResult:
        """The words, the list, and what stands under its cursor."""
        with Dialog("Which setting does the study vary?"):
            yield LineInput(placeholder="type to narrow the list", compact=True, id="words")
            yield OptionList(id="settings", markup=False)
            yield Static("", id="about", markup=False)

    def on_mount(self) -> None:
        """Show all of them."""
        self.choices.can_focus = False  # the arrow keys move it from the words
        self._fill("")
        self.query_one("#words").focus()

    def _fill(self, typed: str) -> None:
        self._fields = [f for f in studyform.what_fits(typed) if f.key not in self._taken]
        table = self.choices
        table.clear_options()
        table.add_options(Option(_line(field), id=field.key) for field in self._fields)
        if self._fields:
            table.highlighted = 0
        else:
            show_text(self.query_one("#about", Static), "No setting has all of these words.")

    @on(Input.Changed, "#words")
    def _typed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._fields):
            field = self._fields[event.option_index]
            text = Text(overflow="ellipsis")
            text.append(field.key, style="bold")
            hint = studyform.values_hint(field.key)
            text.append(fmt.clean(f"  {field.help}\n{studyform.kind_text(field)}  {hint}"))
            show_text(self.query_one("#about", Static), text)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        at = self.choices.highlighted
        if at is not None and at < len(self._fields):
            self.dismiss(self._fields[at].key)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


def _line(field: Field) -> Text:
    """A setting in a line: key, type, range or help."""
    about = form_fields.range_hint(field) or field.help
    text = f"{fmt.fit(field.key, _KEY_WIDTH)} {fmt.fit(studyform.kind_text(field), 12)} {about}"
    return Text(fmt.clean(text), no_wrap=True, overflow="ellipsis")
