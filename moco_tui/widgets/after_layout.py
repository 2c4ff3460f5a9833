"""What needs to know where widgets are, once they are there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.widget import Widget

_PAUSE_SECONDS = 0.01


def after_layout(widget: Widget, act: Callable[[], Any]) -> None:
    """Calls something once all that has changed is laid out, unless the widget is gone by then.

    Textual's ``call_after_refresh`` comes too early where a widget whose size changes is busy, as
    in an app that trains on the processor: such a widget asks for a new layout only when it idles.

    Args:
        widget: of the screen in question.
        act: what to call.
    """
    if not widget.is_attached:
        return
    screen = widget.screen
    if any(each._layout_required for each in screen.walk_children(Widget)):
        widget.set_timer(_PAUSE_SECONDS, lambda: after_layout(widget, act))
    else:  # those who have idled have asked: behind what is in the queue of the screen
        screen.call_later(widget.call_after_refresh, act)
