"""The line at the top of a screen: where one is, what it is about, and what matters most."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widgets import Static

from moco_tui.present import fmt
from moco_tui.widgets.panel import state_look, theme_style

_GAP = 2


class TopBar(Static):
    """One line: the screen, a run with its state, and at the right facts or a note.

    Args:
        title: the name of the screen.
    """

    DEFAULT_CSS = """
    TopBar { height: 1; background: $panel; color: $foreground; padding: 0 1; }
    """

    def __init__(self, title: str) -> None:
        super().__init__(id="top")
        self.title_text = title
        self.subject = ""
        self.state = ("", "")
        self.facts: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What stands at the right, where there is room for all of it."""
        return "  ".join(self.facts)

    def set(
        self,
        subject: str | None = None,
        note: str | None = None,
        *,
        state: tuple[str, str] | None = None,
        facts: Sequence[str] | None = None,
    ) -> None:
        """Change what is shown, and leave what is None; text from files is made safe to print.

        Args:
            subject: what the screen is about.
            note: shown at the right, in place of facts.
            state: of the run, as shown with its mark, and as the engine calls it.
            facts: shown at the right; of more than fit the first.
        """
        parts = facts if note is None else [note]
        new = (
            self.subject if subject is None else fmt.clean(subject),
            self.state if state is None else (fmt.clean(state[0]), state[1]),
            self.facts if parts is None else tuple(fmt.clean(part) for part in parts if part),
        )
        if new != (self.subject, self.state, self.facts):
            self.subject, self.state, self.facts = new
            self.refresh()

    def render(self) -> Text:
        """Title, state and subject, cut to the room there is; the facts that fit at the right."""
        width = max(self.content_size.width, 1)  # 0 before the first layout
        shown, status = self.state
        left = f"{self.title_text}  " + f"{shown}  " * bool(shown)
        room = width - cell_len(left) - _GAP
        subject = cell_len(self.subject)
        facts = ""
        for fact in self.facts:
            longer = f"{facts}  {fact}" if facts else fact
            # the subject keeps a half; what takes no more is seen in whole
            if cell_len(longer) > max(room - subject, 0) and cell_len(longer) > width // 2:
                break
            if facts and cell_len(longer) + subject > room:
                break
            facts = longer
        if not facts and self.facts:
            facts = fmt.fit(self.facts[0], max(width // 2, 0))
        text = Text(no_wrap=True, overflow="crop", end="")
        text.append(f"{self.title_text}  ", style="bold")
        if shown:
            text.append(f"{shown}  ", style=theme_style(self.app, state_look(status)))
        text.append(fmt.fit(self.subject, max(room - cell_len(facts) + _GAP - bool(facts), 0)))
        if facts:
            muted = theme_style(self.app, "muted") if self.app.theme_variables else Style()
            text.append(f" {facts}", style=muted)
        text.truncate(width)
        return text
