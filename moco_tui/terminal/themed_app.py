"""An app with the themes of ``themes`` and the colours that are derived from each."""

from __future__ import annotations

from typing import Any

from textual.app import App

from moco_tui.terminal import themes
from moco_tui.terminal.theme_colours import own_variables


class ThemedApp(App[int]):
    """Has Textual's themes and two of its own; ``theme`` alone says which one is shown."""

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
        variables |= own_variables(variables, ansi=self.current_theme.ansi)
        self.theme_variables = variables
        return variables

    def action_toggle_theme(self) -> None:
        """Light or dark."""
        self.theme = themes.LIGHT if self.current_theme.dark else themes.DARK
