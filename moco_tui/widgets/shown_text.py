"""Texts shown anew at every key or second, mostly the same: no work where nothing changed."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


def show_text(widget: Static, text: str | Text) -> None:
    """Shows a text, where it is another one.

    By itself each ``Static.update`` has Textual lay out the whole screen, which takes longer than
    all else that a key does in a form. That is needed only where the text changes the size of its
    widget.

    Args:
        widget: what shows it.
        text: the text; characters of a ``str`` are markup where the widget takes them for that.
    """
    if not _is_shown(widget, text):
        widget.update(text, layout=False)
        if _needs_another_size(widget):
            widget.refresh(layout=True)


def _is_shown(widget: Static, text: str | Text) -> bool:
    shown = widget.content
    if not isinstance(text, Text) or not isinstance(shown, Text):
        return shown == text
    # Texts are equal for rich where their characters and spans are.
    return shown == text and all(
        getattr(shown, name) == getattr(text, name) for name in ("style", "overflow", "no_wrap")
    )


def _needs_another_size(widget: Static) -> bool:
    """Whether the content does not fit what it was given, or may not."""
    styles, size = widget.styles, widget.content_size
    if not styles.auto_dimensions:
        return False
    if (styles.width is not None and styles.width.is_auto) or not size.width:
        return True
    app = widget.app
    return widget.get_content_height(app.size, app.viewport_size, size.width) != size.height
