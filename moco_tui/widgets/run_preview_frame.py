"""The preview of the run under the cursor: read in a thread, when the cursor has come to rest."""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from rich.text import Text
from textual.app import ComposeResult
from textual.timer import Timer
from textual.widgets import Static

from moco_tui.present import fmt
from moco_tui.present.lines import Line
from moco_tui.present.preview_part import DrawnRun
from moco_tui.present.run_groups import SeedGroup
from moco_tui.present.run_rows import RunRow
from moco_tui.session import draws_ascii
from moco_tui.widgets.background_work import work_behind
from moco_tui.widgets.panel import Frame, state_look, theme_style

if TYPE_CHECKING:  # the first screen does not wait for what draws curves
    from moco_tui.charts.run_curves import Plot, RunCurves
    from moco_tui.present.baseline import RunBaseline
    from moco_tui.present.run_preview import PreviewReader, RunPreview
    from moco_tui.widgets.preview_body import PreviewBody

REST_SECONDS = 0.06
"""How long the cursor rests on a run before it is read: a key that is held down reads none."""


_LEAST_OF_PROBE = 4
"""Points from which a curve of a probe is drawn."""


class PreviewWish(Struct, frozen=True):
    """What is to be seen.

    Attributes:
        row: the run under the cursor.
        rows: all runs by id.
        drawn: the runs whose curves are drawn.
        base: id of the run that accuracies are compared with; may be empty.
    """

    row: RunRow
    rows: Mapping[str, RunRow]
    drawn: tuple[DrawnRun, ...]
    base: str = ""

    @property
    def of(self) -> tuple[str, ...]:
        """Ids of the runs whose curves are drawn."""
        return tuple(one.id for one in self.drawn)

    def is_like(self, other: PreviewWish | None) -> bool:
        """Whether the same run and the same curves are to be seen."""
        return other is not None and (other.row.id, other.of) == (self.row.id, self.of)


class _Found(Struct, frozen=True):
    """What a thread has read."""

    preview: RunPreview
    plots: tuple[Plot, Plot]
    complete: bool


class _Tools:
    """What reads runs; made in a thread, since it imports what draws curves."""

    def __init__(self, root: Path, *, ascii_only: bool) -> None:
        from moco_tui.charts.run_curves import RunCurves
        from moco_tui.present.run_preview import PreviewReader

        importlib.import_module("moco_tui.widgets.preview_body")
        self.curves: RunCurves = RunCurves(root, ascii_only=ascii_only)
        self.reader: PreviewReader = PreviewReader(root)

    def look(self, wish: PreviewWish, goes_on: Callable[[], bool]) -> _Found:
        """Read on, and tell what is known now."""
        from moco_tui.present.baseline import RunBaseline

        complete = self.curves.read(wish.drawn, goes_on=goes_on)
        base: RunBaseline = RunBaseline(wish.rows, wish.base)
        row = wish.row
        preview = self.reader.read(
            row, wish.rows, base, lambda record: self.curves.pace(row.id, record, row.status)
        )
        # A probe is measured a few times, which its table says better.
        least = _LEAST_OF_PROBE if row.kind == "probe" else 1
        losses, accuracies = (plot.of_many(least) for plot in self.curves.plots(wish.drawn))
        return _Found(preview, (losses, accuracies), complete)


class PreviewHead(Static):
    """Lines that are wrapped, in the colours of the present theme."""

    _lines: Sequence[Line] = ()

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines."""
        if list(lines) != list(self._lines):
            self._lines = lines
            self.refresh(layout=True)

    def render(self) -> Text:
        """The lines as a text."""
        text = Text(overflow="fold")
        for number, line in enumerate(self._lines):
            text.append("\n" * bool(number))
            for part, look in line:
                text.append(fmt.clean(part), style=theme_style(self.app, look))
        return text


class RunPreviewFrame(Frame):
    """Shows what is known of the row under the cursor at once, and what is read of it after that.

    Args:
        root: the runs folder.
    """

    HELP_TITLE = "The preview"
    HELP = """The run under the cursor, or the runs that are marked, each in the colour of its mark:
loss and accuracy, the settings that differ from the preset, the probes and the end of the log. Of a
study it shows the results. Tab leads to its charts."""

    def __init__(self, root: Path, *, id: str | None = None) -> None:
        super().__init__("preview", id=id)
        self._root = root
        self._wish: PreviewWish | None = None
        self._tools: _Tools | None = None
        self._body: PreviewBody | None = None
        self._rest: Timer | None = None
        self._number = 0  # of the reading that counts
        self._reads: PreviewWish | None = None  # what is being read
        self._again = False

    def compose(self) -> ComposeResult:
        """The words; charts and panels come when they are imported."""
        yield PreviewHead("", id="preview-head", markup=False)

    # ---------------------------------------------------------------------------- asking

    def ask(self, wish: PreviewWish | None) -> None:
        """Show a run, or the same one anew.

        Args:
            wish: what is to be seen; None: there is no run.
        """
        before, self._wish = self._wish, wish
        if wish is None:
            self.title, self.note = "preview", ()
            return
        self._show_title(wish.row)
        if not self.display:
            return
        if wish.is_like(before) and (self._rest is not None or wish.is_like(self._reads)):
            self._again = True  # it is about to be read, or read once more
            return
        if self._rest is not None:
            self._rest.stop()
        self._number += 1  # what is being read is of no use any more
        self._rest = self.set_timer(REST_SECONDS, self._begin)

    def _show_title(self, row: RunRow) -> None:
        share = f" {100 * row.share:.0f} %" if row.share is not None and row.share < 1 else ""
        state = (f"{row.glyph} {row.status}{share}", state_look(row.status))
        if isinstance(row, SeedGroup):
            self.title, self.note = row.label, [state]
        else:
            self.title, self.note = row.title, [(f"{row.id} · ", "muted"), state]

    def _begin(self) -> None:
        self._rest = None
        work_behind(self, self._work, group="preview", exclusive=True)

    @property
    def _is_open(self) -> bool:
        """A thread may come to its end after the screen was closed."""
        return self.is_attached and self.screen in self.app.screen_stack and bool(self.display)

    async def _work(self) -> None:
        """Read the run that is wished for, part by part, and show each part."""
        self._number += 1
        number = self._number
        ascii_only = draws_ascii(self)
        try:
            while self._wish is not None:
                wish = self._reads = self._wish
                self._again = False
                if self._tools is None:
                    self._tools = await asyncio.to_thread(_Tools, self._root, ascii_only=ascii_only)
                found = await asyncio.to_thread(
                    self._tools.look, wish, lambda: number == self._number
                )
                if number != self._number or not self._is_open:
                    return
                await self._show(wish, found)
                if found.complete and not self._again:
                    return
        finally:
            if number == self._number:
                self._reads = None

    # ---------------------------------------------------------------------------- showing

    async def _show(self, wish: PreviewWish, found: _Found) -> None:
        if self._body is None:
            from moco_tui.widgets.preview_body import PreviewBody

            self._body = PreviewBody(id="preview-body")
            await self.mount(self._body)
            if not self._is_open:
                return
        preview = found.preview
        self.query_one(PreviewHead).show(preview.head)
        alone = len(wish.drawn) == 1
        self._body.show(
            found.plots,
            preview.parts,
            wish.of,
            preview.chance if alone else 0.0,
            preview.start if alone else -math.inf,
            reads_on=not found.complete,
        )
