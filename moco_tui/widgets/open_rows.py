"""The rows of settings that are chosen from a few values, and may have others as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.config.fields import Field
from moco_tui.present import fmt
from moco_tui.present.form import FormState
from moco_tui.present.form_choices import (
    OWN,
    Choice,
    about_choices,
    choices_of,
    found_in,
    several,
    switched,
)
from moco_tui.widgets.choosers import Chooser, Several
from moco_tui.widgets.form_rows import INPUT_LIMIT, FieldRow
from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.path_input import PathInput
from moco_tui.widgets.shown_text import show_text

_MOST_CANDIDATES = 40


def field_row(field: Field, state: FormState, *, sub: bool = False, called: str = "") -> FieldRow:
    """The row that suits a field; see ``FieldRow``."""
    if choices_of(field, state):
        return ChoiceRow(field, state, sub=sub, called=called)
    if several(field):
        return SeveralRow(field, state, sub=sub, called=called)
    return FieldRow(field, state, sub=sub, called=called)


class TwoLineRow(FieldRow):
    """A row with a second line, in which something is typed while a choice asks for it."""

    DEFAULT_CSS = """
    TwoLineRow { layout: vertical; height: auto; }
    TwoLineRow > .line { height: auto; width: 1fr; }
    TwoLineRow > .argument { display: none; }
    TwoLineRow.-typed > .argument { display: block; }
    TwoLineRow > .argument > Input { width: 1fr; }
    TwoLineRow > .argument > .label { color: $text-muted; }
    TwoLineRow > .candidates { display: none; height: auto; max-height: 4; padding-left: 21;
        color: $text-muted; }
    TwoLineRow.-offers > .candidates { display: block; }
    """

    argument: LineInput

    def compose(self) -> ComposeResult:
        """The line of the choice, that of what is typed, and what completes it."""
        with Horizontal(classes="line"):
            yield from super().compose()
        with Horizontal(classes="line argument"):
            yield Static("", classes="label what", markup=False)
            yield self.argument
        yield Static("", classes="candidates", markup=False)

    def editors(self) -> list[Widget]:
        """The choice and, while it is asked for, the text."""
        return [self.editor, self.argument] if self.has_class("-typed") else [self.editor]

    def ask_for(self, what: str) -> None:
        """Show the line for a text, named by what it is; empty hides it."""
        self.set_class(bool(what), "-typed")
        if what:
            show_text(self.query_one(".what", Static), f"    {what}")

    @on(PathInput.Candidates)
    def _offered(self, event: PathInput.Candidates) -> None:
        event.stop()
        names = "  ".join(map(fmt.clean, event.names[:_MOST_CANDIDATES]))
        left = len(event.names) - _MOST_CANDIDATES
        self.set_class(bool(names), "-offers")
        show_text(self.query_one(".candidates", Static), names + f"  and {left} more" * (left > 0))


class ChoiceRow(TwoLineRow):
    """A row with a chooser whose last choice takes any text.

    ``choices`` gives what is offered, which ``offer`` changes.
    """

    def __init__(
        self, field: Field, state: FormState, *, sub: bool = False, called: str = ""
    ) -> None:
        self.choices = choices_of(field, state)
        self._texts: dict[str, str] = {}  # typed, by the name of the choice
        self._about: Mapping[str, str] = about_choices(field)
        self._offered_by: Callable[[], Sequence[Choice]] = lambda: choices_of(field, state)
        self._choice = self.choices[-1]
        takes_path = any(choice.argument == "path" for choice in self.choices)
        kind = PathInput if takes_path else LineInput
        self.argument = kind(compact=True, max_length=INPUT_LIMIT, select_on_focus=False)
        super().__init__(field, state, sub=sub, called=called)
        self._usual_hint = self.hint

    def make_editor(self) -> Widget:
        """The chooser."""
        self._choice, _ = found_in(self.choices, self._value())
        return Chooser([(choice.name, choice.name) for choice in self.choices], self._choice.name)

    def on_mount(self) -> None:
        """Show the text of the choice."""
        self.refill()

    def _value(self) -> str:
        value = self.state.values[self.field.key]
        return value if isinstance(value, str) else fmt.value(value)

    def refill(self) -> None:
        """Show the state's value, after another preset was chosen."""
        self._fill(self._value())

    def offer(self, choices: Sequence[Choice], about: Mapping[str, str]) -> None:
        """Offer other choices; what is shown stays, which the state may not have yet.

        Args:
            choices: of which the last takes any value.
            about: what is said of each choice beside it, by its name.
        """
        kept, shown = list(choices), self._shown()
        self._offered_by, self._about = lambda: kept, about
        self._fill(shown)

    def _shown(self) -> str:
        """The value that is chosen or typed."""
        assert isinstance(self.editor, Chooser)
        choice = next(each for each in self.choices if each.name == self.editor.value)
        return choice.start + (self.argument.value if choice.argument else "")

    def _fill(self, value: str) -> None:
        self.choices = list(self._offered_by())
        self._choice, text = found_in(self.choices, value)
        assert isinstance(self.editor, Chooser)
        self.editor.offer([(choice.name, choice.name) for choice in self.choices])
        self.editor.value = self._choice.name
        self._show_choice(text)

    def _show_choice(self, text: str) -> None:
        with self.prevent(Input.Changed):
            if self._choice.argument and self.argument.value != text:
                self.argument.value = text
        self.ask_for(self._choice.argument)
        about = self._about.get(self._choice.name, self._usual_hint)
        if about != self.hint:
            self.say(about)

    @on(Chooser.Changed)
    def _chosen(self, event: Chooser.Changed) -> None:
        event.stop()
        event.prevent_default()  # not what a row of one line does as well
        self._texts[self._choice.name] = self.argument.value
        self._choice = next(each for each in self.choices if each.name == event.choice.value)
        self._show_choice(self._texts.get(self._choice.name, ""))
        self._tell()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        event.prevent_default()
        self._tell()

    def on_paste(self, event: events.Paste) -> None:
        """Take a value that is pasted on the choices."""
        lines = event.text.splitlines()
        if self.editor.has_focus and lines:
            event.stop()
            self._choice, text = found_in(self.choices, fmt.clean(lines[0]).strip()[:INPUT_LIMIT])
            assert isinstance(self.editor, Chooser)
            self.editor.value = self._choice.name
            self._show_choice(text)
            self._tell()

    def _tell(self) -> None:
        text = self.argument.value if self._choice.argument else ""
        self.post_message(self.Edited(self.field.key, self._choice.start + text, self.state))


class SeveralRow(TwoLineRow):
    """A row with a switch for each item of a list; code of one's own is typed below."""

    DEFAULT_CSS = """
    SeveralRow .hint { display: none; }
    SeveralRow.-wrong .hint { display: block; }
    """

    def __init__(
        self, field: Field, state: FormState, *, sub: bool = False, called: str = ""
    ) -> None:
        self._names = several(field)
        self._takes_own = field.registry is not None
        self._types = False
        self.argument = LineInput(compact=True, max_length=INPUT_LIMIT, select_on_focus=False)
        super().__init__(field, state, sub=sub, called=called)

    def make_editor(self) -> Widget:
        """The switches."""
        return Several(self._items(), self._chosen_items())

    def on_mount(self) -> None:
        """Show what is chosen."""
        self.refill()

    def _value(self) -> list[str]:
        value = self.state.values[self.field.key]
        return [str(each) for each in value] if isinstance(value, list | tuple) else []

    def _own(self) -> list[str]:
        return [each for each in self._value() if each not in self._names]

    def _items(self) -> list[str]:
        return [*self._names, *([OWN] if self._takes_own else self._own())]

    def _chosen_items(self) -> list[str]:
        return [*self._value(), *([OWN] if self._types else [])]

    def refill(self) -> None:
        """Show the state's value."""
        own = self._own()
        self._types = self._takes_own and bool(own)
        with self.prevent(Input.Changed):
            self.argument.value = ", ".join(own)
        self._show_switches()

    def _show_switches(self) -> None:
        assert isinstance(self.editor, Several)
        self.editor.show(self._items(), self._chosen_items())
        self.ask_for("code" if self._types else "")

    @on(Several.Switched)
    def _switched(self, event: Several.Switched) -> None:
        event.stop()
        if event.item == OWN:
            self._types = not self._types
            self._tell([each for each in self._value() if each in self._names])
        else:
            chosen = switched(self._names, self._value(), event.item)
            self._tell([each for each in chosen if not self._takes_own or each in self._names])

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        event.prevent_default()
        self._tell([each for each in self._value() if each in self._names])

    def _tell(self, names: list[str]) -> None:
        """Tell the names that are switched on, with the code that is typed behind them."""
        own = [part.strip() for part in self.argument.value.split(",")] if self._types else []
        items = [*names, *filter(None, own)]
        self.state.set(self.field.key, items)  # at once: the switches show it
        self._show_switches()
        self.post_message(self.Edited(self.field.key, items, self.state))
