"""Textual's command palette, which keys in quick succession cannot break."""

from __future__ import annotations

import contextlib

from textual.command import CommandPalette

from moco_tui.screens.steady_screen import SteadyScreen


class Palette(SteadyScreen, CommandPalette):
    """Offers the commands of the app, or what its providers find."""

    def _action_command_list(self, action: str) -> None:
        """Move in the list of commands, which may be empty or not laid out yet."""
        with contextlib.suppress(LookupError):
            super()._action_command_list(action)
