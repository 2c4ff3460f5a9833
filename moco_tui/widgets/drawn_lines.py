"""A widget that draws all its lines at once and keeps them until something has changed."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget


class DrawnLines(Widget):
    """Textual asks for lines one by one; where one depends on the others, all are drawn together.

    A subclass overrides ``draw_lines`` and calls ``forget_lines`` when they are stale.
    """

    _strips: list[Strip] | None = None

    def draw_lines(self) -> list[Strip]:
        """All lines, from the top; what is missing below is blank."""
        raise NotImplementedError

    def forget_lines(self) -> None:
        """They are drawn anew when they are asked for."""
        self._strips = None

    def notify_style_update(self) -> None:
        """The theme changed: drawn lines are stale."""
        super().notify_style_update()
        self.forget_lines()

    def render_line(self, y: int) -> Strip:
        """One line."""
        if self._strips is None:
            self._strips = self.draw_lines()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.rich_style)
