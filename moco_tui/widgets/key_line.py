"""The key bindings in the last line, and a note: Textual's footer mounts a widget for every key."""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from moco_tui.widgets.panel import theme_style

_DIM = Style(dim=True)


@dataclass(frozen=True)
class _Item:
    """A key with its words; ``everywhere``: a binding of the app."""

    parts: list[Segment]
    key: str
    enabled: bool
    everywhere: bool

    def __len__(self) -> int:
        return sum(part.cell_length for part in self.parts)


class KeyLine(Widget):
    """Shows the bindings that the focus has now; a click presses the key."""

    ALLOW_SELECT = False  # the mouse presses keys here, it selects no text
    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; color: $footer-foreground; background: $panel; }
    KeyLine > .keyline--key { color: $footer-key-foreground; text-style: bold; }
    KeyLine > .keyline--text { color: $footer-description-foreground; }
    """
    COMPONENT_CLASSES = {"keyline--key", "keyline--text"}

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[tuple[int, int, str, bool]] = []
        self._note = ""

    @property
    def note(self) -> str:
        """What stands at the right, where the keys leave room for it."""
        return self._note

    @note.setter
    def note(self, text: str) -> None:
        if text != self._note:
            self._note = text
            self.refresh()

    def on_mount(self) -> None:
        """Redraw when the active bindings change."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def on_unmount(self) -> None:
        """End the subscription."""
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _changed(self, screen: Screen[object]) -> None:
        # As Textual's footer does: without the focus of the terminal nothing has the focus, and the
        # keys of the focused widget would vanish until the person comes back.
        if screen.app.app_focus and self.is_attached:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Keys with descriptions, dim where disabled; the last are left out if they do not fit."""
        base, width = self.rich_style, self.size.width
        items = self._items() if y == 0 else []
        while sum(len(item) + 1 for item in items) > width + 1:
            own = [item for item in items if not item.everywhere]
            if not own:
                break
            items.remove(own[-1])  # help lists it; quit and help stay in sight
        segments: list[Segment] = []
        spans: list[tuple[int, int, str, bool]] = []
        x = 0
        for item in items:
            spans.append((x, x + len(item), item.key, item.enabled))
            segments += [*item.parts, Segment(" ", base)]
            x += len(item) + 1
        self._spans = spans
        if self._note and x + 1 + len(self._note) < width:
            segments.append(Segment(" " * (width - x - len(self._note) - 1), base))
            segments.append(Segment(self._note, base + theme_style(self.app, "muted")))
        return Strip(segments).adjust_cell_length(width, base)

    def _items(self) -> list[_Item]:
        styles = [self.get_component_rich_style(f"keyline--{name}") for name in ("key", "text")]
        items: dict[str, _Item] = {}
        shown: dict[str, str] = {}
        for node, binding, enabled, _ in self.screen.active_bindings.values():
            key = self.app.get_key_display(binding)
            # Of several keys of one action, or of one group, the shortest: a field in focus takes
            # the letters among them for its text, and then they are not active.
            thing = binding.group.description if binding.group else binding.action
            if not binding.show or len(shown.get(thing, key + " ")) <= len(key):
                continue
            shown[thing] = key
            texts = (key, f" {binding.description}")
            parts = [
                Segment(text, style if enabled else style + _DIM)
                for text, style in zip(texts, styles, strict=True)
            ]
            items[thing] = _Item(parts, binding.key, enabled, node is self.app)
        return list(items.values())

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the key under the mouse."""
        for start, stop, key, enabled in self._spans:
            if start <= event.x < stop:
                if enabled:
                    self.app.simulate_key(key)
                else:
                    self.app.bell()
