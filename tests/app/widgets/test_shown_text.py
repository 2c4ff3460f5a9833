"""Texts and lines that change look as by Textual's own way, without laying the screen out."""

from __future__ import annotations

import random

import pytest
from rich.text import Text
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from moco_tui.widgets.line_input import LineInput
from moco_tui.widgets.shown_text import show_text

SHAPES = {
    "fixed": "height: 2;",
    "as high as it is": "height: auto;",
    "between": "height: auto; min-height: 2; max-height: 4; padding: 0 1;",
    "as wide as it is": "width: auto; height: 1;",
}
WORDS = ("", "a", "one line", "word " * 12, "two\nlines", "word " * 40, "\n\n")


class Beside(App[None]):
    """Two of a widget, of which one is changed in our way and one in Textual's."""

    CSS = "Static, Input { width: 20; } Static { background: blue; } Vertical { height: auto; }"

    def __init__(self, ours: Widget, theirs: Widget) -> None:
        super().__init__()
        self.ours, self.theirs = ours, theirs

    def compose(self) -> ComposeResult:
        yield Vertical(self.ours, Static("below"))
        yield Vertical(self.theirs, Static("below"))


def drawn(widget: Widget) -> tuple[object, ...]:
    """Size and characters of a widget, and how high it makes what it lies in."""
    assert isinstance(widget.parent, Vertical)
    lines = [strip.text for strip in widget.render_lines(widget.size.region)]
    return widget.size, widget.parent.size, lines


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[Screen[object]]:
    """The screens that were laid out since."""
    found: list[Screen[object]] = []
    lay_out = Screen._refresh_layout

    def noted(self: Screen[object], *args: object, **named: object) -> None:
        found.append(self)
        lay_out(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Screen, "_refresh_layout", noted)
    return found


@pytest.mark.parametrize("shape", SHAPES)
async def test_it_looks_as_an_update(shape: str) -> None:
    ours, theirs = Static(markup=False), Static(markup=False)
    draw = random.Random(0)
    async with Beside(ours, theirs).run_test(size=(60, 60)) as pilot:
        for widget in (ours, theirs):
            widget.set_styles(SHAPES[shape])
        await pilot.pause()
        for _ in range(25):
            text = Text(draw.choice(WORDS), style=draw.choice(["", "bold"]))
            show_text(ours, text)
            theirs.update(text)
            await pilot.pause()
            assert drawn(ours) == drawn(theirs)


async def test_the_screen_is_laid_out_for_another_size_alone(layouts: list[object]) -> None:
    fixed, auto = Static(markup=False), Static(markup=False)
    async with Beside(fixed, auto).run_test() as pilot:
        fixed.styles.height = 2
        show_text(auto, "one line")
        await pilot.pause()
        layouts.clear()
        for text in ("a", "two\nlines", "two\nlines"):
            show_text(fixed, text)
            await pilot.pause()
        for text in ("another", "another", "a third"):
            show_text(auto, text)
            await pilot.pause()
        assert not layouts
        assert drawn(auto)[2] == ["a third".ljust(20)]
        show_text(auto, "two\nlines")
        await pilot.pause()
        assert layouts


async def test_nothing_is_drawn_for_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Static(markup=False), Static(markup=False)
    async with Beside(ours, theirs).run_test() as pilot:
        show_text(ours, Text("as it is", style="bold"))
        await pilot.pause()
        monkeypatch.setattr(ours, "refresh", lambda *_, **__: pytest.fail("drawn anew"))
        show_text(ours, Text("as it is", style="bold"))
        monkeypatch.undo()
        show_text(ours, Text("as it is", style="italic"))
        await pilot.pause()
        assert "italic" in str(ours.render_lines(ours.size.region)[0]._segments[0].style)


async def test_a_line_that_is_typed_scrolls_as_an_input_does(layouts: list[object]) -> None:
    ours, theirs = LineInput(id="ours"), Input(id="theirs")
    draw = random.Random(1)
    editing = ["home", "end", "left", "right", "backspace", "delete", "ctrl+w", "ctrl+left"]
    async with Beside(ours, theirs).run_test() as pilot:
        for turn in range(14):
            keys = list("abc de") if turn % 2 == 0 else [draw.choice(editing)] * 2
            shown = []
            for each in (theirs, ours):
                each.focus()
                await pilot.pause()
                layouts.clear()
                await pilot.press(*keys)
                facts = each.value, each.cursor_position, each.scroll_offset
                shown.append((facts, drawn(each)))
            assert shown[0] == shown[1]
            assert not layouts
