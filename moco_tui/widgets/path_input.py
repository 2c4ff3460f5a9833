"""A field for the path of a folder, which completes it."""

from __future__ import annotations

import asyncio

from textual import events
from textual.message import Message

from moco_tui.present.path_completion import Completion, complete
from moco_tui.widgets.line_input import LineInput

LONGEST_SECONDS = 1.0
"""How long a folder is looked at: it may lie on a machine that does not answer."""


class PathInput(LineInput):
    """Tab, or Right at the end, completes the path as far as all folders agree that it may mean.

    Tab goes on to the next field where nothing is left to complete, or all that is was shown.
    """

    HELP_TITLE = "The path of a folder"
    HELP = """Tab, or the right arrow at the end, completes the path; ~ is your own folder."""

    class Candidates(Message):
        """Folders that the path may go on with; none where it is whole."""

        def __init__(self, names: tuple[str, ...]) -> None:
            super().__init__()
            self.names = names

    _offered = ""  # the path whose candidates are shown

    async def _on_key(self, event: events.Key) -> None:
        at_end = self.cursor_position >= len(self.value)
        # What has been shown may be what is meant: the next Tab goes on to the next field.
        shown = event.key == "tab" and self._offered and self._offered == self.value
        asks = at_end and not shown and event.key in ("tab", "right")
        if asks and await self._complete():
            event.stop()
            event.prevent_default()
            return
        await super()._on_key(event)

    async def _complete(self) -> bool:
        """Complete the path; False where that changes nothing and everything was shown before."""
        found = await self._found()
        offers = len(found.candidates) > 1
        if found.text != self.value:
            self.value = found.text
            self.cursor_position = len(self.value)
            if not offers:  # the folders within, which may be what is meant
                found = await self._found()
        elif not offers or self._offered == self.value:
            return False
        self._offered = self.value
        self.post_message(self.Candidates(found.candidates))
        return True

    async def _found(self) -> Completion:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await asyncio.to_thread(complete, self.value)
        except TimeoutError:
            return Completion(self.value)

    def watch_value(self, before: str, value: str) -> None:
        """What was offered for another path is offered no more."""
        if value != self._offered:
            self._offered = ""
            self.post_message(self.Candidates(()))

    def on_blur(self) -> None:
        """Nobody is typing any more."""
        self.post_message(self.Candidates(()))
