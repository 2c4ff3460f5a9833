"""What every screen has before Textual's class: it closes once, and paints what has changed."""

from __future__ import annotations

import contextlib
from typing import Any

from textual import events
from textual.await_complete import AwaitComplete
from textual.dom import DOMNode
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import OptionList

from moco_tui.widgets.named_keys import NamedKeys


class SteadyScreen(NamedKeys):
    """What Textual's ``Screen`` leaves to luck or paints too often; before it among the bases.

    Its bindings have ids, see ``NamedKeys``.
    """

    # Not painted as a whole when the focus moves, as Textual's is: what shows the focus is painted
    # by itself, and a key would send 25,000 bytes of a large terminal through the connection.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def _update_focus_styles(
        self, focused: Widget | None = None, blurred: Widget | None = None
    ) -> None:
        """Updates the styles of what got the focus within it, or lost it.

        Textual's own updates what holds both as well, with all that lies in it: in a form hundreds
        of widgets at each key, and its scroll bars are painted each time.
        """
        gained, lost = (
            set(one.ancestors_with_self) if one else set() for one in (focused, blurred)
        )
        nodes: set[DOMNode] = set()
        for node in gained ^ lost:
            if isinstance(node, Widget) and node._has_focus_within:
                nodes.update(node.walk_children(with_self=True))
        if nodes and isinstance(self, Screen):
            self.app.stylesheet.update_nodes(nodes, animate=True)

    # With an underscore beside the handlers of screens: Textual calls those of every class in turn.
    async def _on_resize(self, event: events.Resize) -> None:
        """Ends the handling of a size that the terminal no longer has; the app posts the new one.

        ``Screen`` posts itself each size that it has laid out. Of two sizes in its queue
        the first, posted again, comes after the second; while painting is held up, both are posted
        again for ever, and the event loop sees nothing else.
        """
        if isinstance(self, Screen) and event.size != self.app.size:
            event.prevent_default()

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Closes the screen with an answer; nothing when it is not the one shown.

        A second Escape may come before the first has closed it. It would answer twice, which is an
        error, and close the screen below.
        """
        if isinstance(self, Screen) and self.app.screen is self:
            closing: AwaitComplete = super().dismiss(result)  # type: ignore[misc] # of Screen
            return closing
        return AwaitComplete()


class SteadyList(OptionList):
    """A list of options whose pages may be turned before it has been laid out."""

    def action_page_up(self) -> None:
        """Move up by a page."""
        with contextlib.suppress(LookupError):  # no line has a place yet
            super().action_page_up()  # type: ignore[no-untyped-call] # Textual's

    def action_page_down(self) -> None:
        """Move down by a page."""
        with contextlib.suppress(LookupError):
            super().action_page_down()  # type: ignore[no-untyped-call] # Textual's
