"""A widget of lines that has only those painted again which have changed."""

from __future__ import annotations

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class PaintedLines(Widget):
    """Remembers its lines as they were painted last; a subclass overrides ``draw_line``.

    A table that moves its cursor by ``refresh`` sends all of its lines through the connection; by
    ``refresh_changed`` two.
    """

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type] # of the next base
        self._painted: dict[int, Strip] = {}

    def draw_line(self, y: int) -> Strip:
        """One line of what is in sight, from 0 at the top."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """See ``draw_line``."""
        strip = self._painted[y] = self.draw_line(y)
        return strip

    def refresh_changed(self) -> None:
        """Have the lines painted that are others than those that were painted."""
        width, height = self.size
        for y in range(height):
            if self._painted.get(y) != self.draw_line(y):
                self.refresh(Region(0, y, width, 1))
