"""The base of the screens: top line, content, key line; how they speak to the app."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.message import Message
from textual.screen import Screen

from moco_tui.screens.messages import OpenForm, OpenStudy, Say, Severity
from moco_tui.screens.steady_screen import SteadyScreen
from moco_tui.session import READ_ONLY, Session
from moco_tui.widgets.key_line import KeyLine
from moco_tui.widgets.top_bar import TopBar


class BaseScreen(SteadyScreen, Screen[None]):
    """A screen of the app: top line, content, keys.

    Subclasses say what they are in ``TITLE_TEXT``, how they are used in ``HELP``, which the help
    screen prints over their keys, and yield their widgets in ``content``.

    Args:
        session: what all screens share.
    """

    TITLE_TEXT = ""
    HELP = ""
    BINDINGS = [Binding("escape", "back", "Back")]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        """Top line, content, keys."""
        yield TopBar(self.TITLE_TEXT)
        yield from self.content()
        yield KeyLine()

    def content(self) -> ComposeResult:
        """The widgets of the screen."""
        yield from ()

    @property
    def top(self) -> TopBar:
        """The line at the top."""
        return self.query_one(TopBar)

    @property
    def keys(self) -> KeyLine:
        """The line at the bottom."""
        return self.query_one(KeyLine)

    @property
    def is_open(self) -> bool:
        """Whether it is shown or covered: a worker may come to its end after it was closed."""
        return self in self.app.screen_stack

    def action_back(self) -> None:
        """Go back to the previous screen."""
        self.dismiss()

    def action_new(self) -> None:
        """Configure a pretraining."""
        self.ask_app(OpenForm())

    def action_study(self) -> None:
        """Open the newest study, or the form for one."""
        self.ask_app(OpenStudy())

    def ask_app(self, message: Message) -> None:
        """Post one of ``screens.messages`` to the app.

        On the screen itself it would have to bubble up, and a screen that is being closed takes no
        message any more: ``MessagePump.post_message`` returns False.
        """
        self.app.post_message(message)

    def say(self, text: str, *, severity: Severity = "information") -> None:
        """Show a sentence for a few seconds."""
        self.ask_app(Say(text, severity))

    def writable(self) -> bool:
        """Whether anything may be changed; says so when not."""
        if self.session.read_only:
            self.say(READ_ONLY, severity="warning")
        return not self.session.read_only
