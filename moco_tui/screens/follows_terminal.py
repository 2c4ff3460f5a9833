"""What every screen has before Textual's own class: it leaves old sizes of the terminal alone."""

from __future__ import annotations

from textual import events
from textual.screen import Screen


class FollowsTerminal:
    """Keeps a screen from being laid out in a size that the terminal no longer has.

    Textual's ``Screen`` posts itself each size that it has laid out. Of two sizes in its queue the
    first, posted again, comes after the second and takes its place; while painting is held up, both
    are posted again for ever, and the event loop sees nothing else.
    """

    # With an underscore beside the handlers of screens: Textual calls those of every class in turn.
    async def _on_resize(self, event: events.Resize) -> None:
        """Ends the handling of an old size; the app posts the present one itself."""
        if isinstance(self, Screen) and event.size != self.app.size:
            event.prevent_default()
