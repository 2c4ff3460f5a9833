"""An app with the themes of ``themes`` and the colours that are derived from each."""

from __future__ import annotations

from typing import Any

from rich.style import Style
from rich.theme import Theme as RichTheme
from textual.app import App
from textual.theme import Theme
from textual.widgets import Static

from moco_tui.terminal import themes
from moco_tui.terminal.theme_colours import own_variables


class ThemedApp(App[int]):
    """Has Textual's themes and two of its own; ``theme`` alone says which one is shown."""

    _texts_themed = False  # whether a theme for texts was given to the console

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        for theme in themes.OWN:
            self.register_theme(theme)

    def suit_terminal(self) -> None:
        """Take the theme that suits the terminal, until a person chooses another."""
        self.theme = themes.first_theme(self.console.color_system)

    def get_css_variables(self) -> dict[str, str]:
        """The theme's, with the colours that the app derives from them."""
        variables = super().get_css_variables()
        ansi = self.current_theme.ansi
        variables |= own_variables(variables, ansi=ansi)
        self.theme_variables = variables
        if self._texts_themed:
            self.console.pop_theme()
        # Texts say "dim": half way to what is behind them it could not be read in some themes.
        dim = Style(dim=True) if ansi else Style(color=variables["text-muted"])
        self.console.push_theme(RichTheme({"dim": dim}))
        self._texts_themed = True
        return variables

    def on_mount(self) -> None:
        """From now on texts follow the theme."""
        self.theme_changed_signal.subscribe(self, self._restyle_texts)

    def _restyle_texts(self, theme: Theme) -> None:
        """Colour the texts anew whose colours were worked out for the theme before."""
        del theme
        for screen in self.screen_stack:
            for text in screen.query(Static):
                if not isinstance(text.content, str):
                    text.update(text.content)

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = themes.LIGHT if self.current_theme.dark else themes.DARK
