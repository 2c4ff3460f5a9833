"""The help screen, generated from the key bindings and HELP texts of screen and widgets."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable
from typing import Any

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import format_key
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.session import Session
from moco_tui.widgets.panel import ScrollFrame

NAMES = {
    "question_mark": "?",
    "slash": "/",
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "exclamation_mark": "!",
    "at": "@",
    "asterisk": "*",
    "colon": ":",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "delete": "Del",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "home": "Home",
    "end": "End",
    "left": "Left",
    "right": "Right",
    "up": "Up",
    "down": "Down",
}


def key_text(keys: str) -> str:
    """The keys of a binding as they are printed on a keyboard: ``plus,ctrl+s`` is ``+, Ctrl+s``."""
    shown = []
    for key in keys.split(","):
        head, plus, tail = key.strip().rpartition("+")  # the key itself is named "plus"
        name = NAMES.get(tail) or (tail if len(tail) == 1 else format_key(tail))
        shown.append(f"{head.capitalize()}+{name}" if plus and head else name)
    return ", ".join(shown)


def own_bindings(node: DOMNode) -> list[Binding]:
    """The bindings of a class and of its bases, but for those that come with Textual.

    They are read from the classes rather than from ``Screen.active_bindings``, which has only
    what acts now: it leaves out disabled keys and those of widgets without the focus.
    """
    found: dict[str, Binding] = {}
    for cls in type(node).__mro__:
        if cls.__module__.partition(".")[0] == "textual":
            continue
        for binding in cls.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.key not in found:
                found[binding.key] = binding
        # Textual's mark on a class that was made with inherit_bindings=False
        if not cls.__dict__.get("_inherit_bindings", True):
            break
    return [_as_chosen(binding, node) for binding in found.values()]


def _as_chosen(binding: Binding, node: DOMNode) -> Binding:
    """A binding with the keys that the person has chosen for it."""
    app = node if isinstance(node, App) else node.app
    chosen = getattr(app, "chosen_keys", {}).get(binding.id)
    return binding if chosen is None else binding.with_key(chosen)


def bound_actions(
    screen: Screen[Any], but: Collection[str] = ()
) -> Iterable[tuple[str, str, Callable[[], Any]]]:
    """The keys of a screen as commands: title, help, what to call.

    Args:
        screen: whose keys they are.
        but: actions that are left out.
    """
    for binding in own_bindings(screen):
        if binding.action in but:
            continue
        if screen.check_action(binding.action.partition("(")[0], ()) is False:
            continue

        # The default binds the action of this turn; a closure would see that of the last.
        async def run(action: str = binding.action) -> None:
            if screen in screen.app.screen_stack:  # it may have been closed under the palette
                await screen.run_action(action)

        yield binding.description, f"key {key_text(binding.key)}", run


def help_text(screen: Screen[Any]) -> Text:
    """All keys of a screen: its own, those of its widgets, and those of the app.

    A widget is listed once a class, and only where the class itself has a ``HELP``: one that is
    inherited would repeat the text of its base.
    """
    text = Text()

    def section(title: str, words: str, bindings: Iterable[Binding]) -> None:
        text.append(f"{title}\n", style="bold")
        if words:
            # The box is 76 cells wide (help_screen.tcss); border, padding, scroll bar take 5.
            text.append(textwrap.fill(" ".join(words.split()), 70) + "\n")
        for binding in bindings:
            text.append(f"  {key_text(binding.key):<22}", style="bold")
            text.append(f"{binding.description}\n")
        text.append("\n")

    section(
        str(getattr(screen, "TITLE_TEXT", "") or "This screen"),
        str(getattr(screen, "HELP", "")),
        own_bindings(screen),
    )
    seen: set[type] = set()
    for widget in screen.query("*"):
        kind = type(widget)
        words = kind.__dict__.get("HELP")
        if not words or kind in seen:
            continue
        seen.add(kind)
        section(str(getattr(kind, "HELP_TITLE", kind.__name__)), words, own_bindings(widget))
    section("Everywhere", "", own_bindings(screen.app))
    # Bindings of Textual's own, which own_bindings leaves out.
    text.append("  Ctrl+P                ", style="bold")
    text.append("Command palette\n")
    text.append("  Tab, Shift+Tab        ", style="bold")
    text.append("Next and previous widget\n")
    return text


class HelpBox(ScrollFrame, can_focus=True):
    """The text, which the keys scroll."""


class HelpScreen(SteadyScreen, ModalScreen[None]):
    """The keys of the screen below it.

    Args:
        session: what all screens share.
    """

    BINDINGS = [Binding("escape,question_mark,q,enter", "back", "Back")]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        stack = self.app.screen_stack
        below = stack[stack.index(self) - 1]  # the help itself is on the stack when it is composed
        with HelpBox("Keys", id="help-box"):
            yield Static(help_text(below), id="help-text")

    def on_mount(self) -> None:
        """Focus the text, so that keys scroll it."""
        self.query_one("#help-box").focus()

    def action_back(self) -> None:
        """Close."""
        self.dismiss()
