"""What a preview is made of: a panel with its lines, and a run whose curves are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from rich.cells import cell_len

from moco_tui.present.lines import Line


class PreviewPart(Struct, frozen=True):
    """A panel of the preview.

    Attributes:
        title: over it.
        lines: of the width that it gets.
        count: how many these are in any width that there is; 0: as many as fit.
        width: cells of the widest of them; 0: they are wrapped.
    """

    title: str
    lines: Callable[[int], list[Line]]
    count: int = 0
    width: int = 0


def fixed_part(title: str, lines: Sequence[Line]) -> PreviewPart:
    """A panel whose lines are the same in any width."""
    widest = max((sum(cell_len(text) for text, _ in line) for line in lines), default=0)
    return PreviewPart(title, lambda _: list(lines), len(lines), widest)


class DrawnRun(Struct, frozen=True):
    """A run whose curves are drawn.

    Attributes:
        id: of the run, or of the line that stands for several.
        name: in the legend, clean.
        place: of its mark and colour among those of all curves, from 0.
        runs: ids of the runs whose mean it stands for; empty: it is one run.
    """

    id: str
    name: str
    place: int = 0
    runs: tuple[str, ...] = ()

    @property
    def logs(self) -> tuple[str, ...]:
        """Ids of the runs whose logs are read."""
        return self.runs or (self.id,)
