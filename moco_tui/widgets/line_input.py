"""An input for one line that cleans and cuts what is pasted into it."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.reactive import reactive
from textual.widgets import Input

from moco_tui.present import fmt

_EDITING: dict[str, str] = {
    key.strip(): binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}
"""The keys of an input that are bindings, and what they do."""


class LineInput(Input):
    """One line of text without control characters; a paste that is too long is cut, not refused."""

    DEFAULT_CSS = """
    LineInput { scrollbar-size-horizontal: 0; }
    """

    # A cursor that blinks sends a redraw over the connection twice a second, for nothing.
    cursor_blink = reactive(False, init=False)
    # How long the text is changes nothing of a line: it need not lay the whole screen out anew.
    virtual_size = reactive(Size(0, 0))

    async def _on_key(self, event: events.Key) -> None:
        """Do what an editing key does at once.

        As a binding it would act on its way back from the app, after letters that were typed behind
        it and came in the same burst, as over a slow connection.
        """
        action = _EDITING.get(event.key)
        if action is not None:
            event.stop()
            event.prevent_default()
            await self.run_action(action)

    def replace(self, text: str, start: int, end: int) -> None:
        """Replace a part of the text; every insertion and paste comes through here."""
        text = fmt.clean(text)
        if self.max_length:
            kept = len(self.value) - abs(end - start)
            text = text[: max(self.max_length - kept, 0)]
        super().replace(text, start, end)
