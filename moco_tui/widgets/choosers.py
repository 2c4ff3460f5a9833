"""Editors of one line for values that are chosen: one of a few, on or off, any number of a few."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from moco_tui.present import fmt
from moco_tui.widgets.named_keys import NamedKeys

_NO_NAMES = "? "
"""Keys that no name begins with."""


class Chooser(NamedKeys, Widget, can_focus=True):
    """One of a few values; the arrow keys, Space or a click go through them.

    One line high and without a list to open, so that dozens of them stand in the form.

    Args:
        options: the values with the texts that are shown for them.
        value: the one to begin with; empty for the first.
    """

    HELP_TITLE = "A choice"
    HELP = """Left and right (or Space) choose, as do the first letters of a name."""

    DEFAULT_CSS = """
    Chooser { height: 1; width: 1fr; color: $foreground; background: $panel; }
    Chooser:focus { background: $primary; color: $text; text-style: bold; }
    """
    BINDINGS = [
        Binding("left", "step(-1)", "Previous value", show=False),
        Binding("right,space,enter", "step(1)", "Next value", show=False),
    ]
    value: reactive[str] = reactive("")

    class Changed(Message):
        """Another value was chosen."""

        def __init__(self, choice: Chooser) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Chooser:
            """The choice."""
            return self.choice

    def __init__(
        self,
        options: Sequence[tuple[str, str]],
        value: str = "",
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.options = list(options)
        self._begun = ""  # what was typed of the name of an option
        # An assignment would refresh and call watchers before the widget is mounted.
        self.set_reactive(Chooser.value, value if value or not options else options[0][0])

    def render(self) -> Text:
        """The value between arrows."""
        shown = dict(self.options).get(self.value, self.value)
        width = max(self.content_size.width - 4, 1)
        return Text(f"‹ {fmt.fit(fmt.clean(shown), min(len(shown), width))} ›", end="")

    def action_step(self, direction: int) -> None:
        """Go to the next or the previous value."""
        names = [name for name, _ in self.options]
        if not names:
            return
        at = names.index(self.value) if self.value in names else -1
        self.value = names[(at + direction) % len(names)]
        self.post_message(self.Changed(self))

    def offer(self, options: Sequence[tuple[str, str]]) -> None:
        """Offer other values; the one that is chosen stays."""
        self.options = list(options)
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Choose the value whose name begins with what is typed."""
        letter = event.character or ""
        if not letter.isprintable() or letter in _NO_NAMES:
            self._begun = ""
            return
        for begun in (self._begun + letter, letter):
            found = [name for name, shown in self.options if shown.lower().startswith(begun)]
            if found and not (begun == letter and self._names_a_key(letter)):
                self._begun = begun
                event.stop()
                if self.value not in found:
                    self.value = found[0]
                    self.post_message(self.Changed(self))
                return

    def _names_a_key(self, letter: str) -> bool:
        """Whether a letter does something else here, such as to leave."""
        return letter in self.screen.active_bindings

    def on_blur(self) -> None:
        """What was typed of a name has ended."""
        self._begun = ""

    def on_click(self, event: events.Click) -> None:
        """A click on the left arrow goes back, one anywhere else forward."""
        self.action_step(-1 if event.x < 3 else 1)


class Checkbox(NamedKeys, Widget, can_focus=True):
    """On or off; Space, Enter, an arrow key or a click changes it."""

    HELP_TITLE = "A switch"
    HELP = """Space switches on or off."""

    DEFAULT_CSS = """
    Checkbox { height: 1; width: 1fr; color: $foreground; }
    Checkbox:focus { background: $primary; color: $text; text-style: bold; }
    """
    BINDINGS = [
        Binding("space,enter,left,right", "switch", "On or off", show=False),
    ]
    value: reactive[bool] = reactive(False)

    class Changed(Message):
        """Switched."""

        def __init__(self, checkbox: Checkbox) -> None:
            super().__init__()
            self.checkbox = checkbox

        @property
        def control(self) -> Checkbox:
            """The switch."""
            return self.checkbox

    def __init__(self, value: bool = False, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(Checkbox.value, value)

    def render(self) -> Text:
        """A box and a word, so that colour is not needed."""
        return Text("[x] on" if self.value else "[ ] off", end="")

    def action_switch(self) -> None:
        """Switch."""
        self.value = not self.value
        self.post_message(self.Changed(self))

    def on_click(self) -> None:
        """Switch."""
        self.action_switch()


class Several(NamedKeys, Widget, can_focus=True):
    """Any number of a few items, side by side; Left and Right go to one, Space switches it.

    Args:
        items: in the order in which they are shown.
        chosen: those that are on.
    """

    HELP_TITLE = "Several of a few"
    HELP = """Left and Right go from one to the next, Space (or Enter) switches it on or off."""

    DEFAULT_CSS = """
    Several { height: 1; width: 1fr; color: $foreground; background: $panel; }
    """
    BINDINGS = [
        Binding("left", "move(-1)", "Previous", show=False),
        Binding("right", "move(1)", "Next", show=False),
        Binding("space,enter", "switch", "On or off", show=False),
    ]

    class Switched(Message):
        """An item was switched."""

        def __init__(self, several: Several, item: str) -> None:
            super().__init__()
            self.several, self.item = several, item

    def __init__(self, items: Sequence[str], chosen: Sequence[str]) -> None:
        super().__init__()
        self.items, self.chosen = list(items), set(chosen)
        self.at = 0

    def show(self, items: Sequence[str], chosen: Sequence[str]) -> None:
        """Show other items, or others of them on."""
        self.items, self.chosen = list(items), set(chosen)
        self.at = min(self.at, max(len(self.items) - 1, 0))
        self.refresh()

    def _spans(self) -> list[tuple[int, int, str]]:
        """Where each item begins and ends, and its text."""
        spans, x = [], 0
        for item in self.items:
            text = f"[{'x' if item in self.chosen else ' '}] {fmt.clean(item)}"
            spans.append((x, x + len(text), text))
            x += len(text) + 2
        return spans

    def _scrolled(self) -> int:
        """Cells that lie left of what is seen: the item with the cursor is in sight."""
        if not self.items or not self.content_size.width:
            return 0
        start, end, _ = self._spans()[self.at]
        return min(max(end - self.content_size.width, 0), start)

    def render(self) -> Text:
        """The items, the one with the cursor marked while this has the focus."""
        text = Text(no_wrap=True, overflow="crop", end="")
        for at, (_, _, item) in enumerate(self._spans()):
            marked = Style(reverse=True) if self.has_focus and at == self.at else Style()
            text.append(item, style=marked)
            text.append("  ")
        return text[self._scrolled() :] if self.items else text

    def action_move(self, direction: int) -> None:
        """Go to the next or the previous item."""
        if self.items:
            self.at = (self.at + direction) % len(self.items)
            self.refresh()

    def action_switch(self) -> None:
        """Switch the item with the cursor."""
        if self.items:
            self.post_message(self.Switched(self, self.items[self.at]))

    def on_click(self, event: events.Click) -> None:
        """Switch the item under the mouse."""
        x = event.x + self._scrolled()
        for at, (start, end, _) in enumerate(self._spans()):
            if start <= x < end:
                self.at = at
                self.action_switch()
