"""The line at the top: the run with its state is kept, of the facts as many as fit."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.app import ComposeResult

from moco_tui.terminal.themed_app import ThemedApp
from moco_tui.widgets.top_bar import TopBar

FACTS = ("62 %", "ETA 4 min", "1,898 pairs/s", "cuda:0")


class OneBar(ThemedApp):
    def compose(self) -> ComposeResult:
        yield TopBar("Monitor")


@pytest.mark.parametrize("width", [10, 24, 40, 60, 80, 120, 200])
async def test_of_the_facts_the_first_are_shown(width: int) -> None:
    app = OneBar()
    async with app.run_test(size=(width, 5)) as pilot:
        bar = app.query_one(TopBar)
        bar.set("small angle  (k7m2qx)", state=("▸ running", "running"), facts=FACTS)
        await pilot.pause()
        text = bar.render().plain
        assert cell_len(text) <= width
        shown = [fact for fact in FACTS if fact in text]
        assert shown == list(FACTS[: len(shown)])
        if width >= 40:
            assert text.startswith("Monitor  ▸ running  small")
            assert shown
        if width >= 120:
            assert "small angle  (k7m2qx)" in text
            assert shown == list(FACTS)


async def test_the_state_has_its_colour_and_its_word() -> None:
    app = OneBar()
    async with app.run_test(size=(80, 5)):
        bar = app.query_one(TopBar)
        colours = set()
        for status in ("running", "paused", "failed", "finished", "stopped", "lost"):
            bar.set("name", state=(f"x {status}", status))
            text = bar.render()
            (span,) = (
                s for s in text.spans if text.plain[s.start : s.end].strip().endswith(status)
            )
            colours.add(str(span.style))
        assert len(colours) == 6


async def test_what_comes_from_files_is_made_safe() -> None:
    app = OneBar()
    async with app.run_test(size=(80, 5)):
        bar = app.query_one(TopBar)
        bar.set("a\x1b[2Jb", "c\nd", state=("\x07e", "running"))
        text = bar.render().plain
        assert not any(ord(character) < 32 for character in text)
        assert bar.note == bar.facts[0]


async def test_a_note_takes_the_place_of_facts() -> None:
    app = OneBar()
    async with app.run_test(size=(80, 5)):
        bar = app.query_one(TopBar)
        bar.set("name", facts=FACTS)
        bar.set(note="4 runs")
        assert bar.note == "4 runs"
        assert bar.render().plain.rstrip().endswith("4 runs")
