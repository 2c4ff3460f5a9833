"""The frame of a panel: its title at the left, its state at the right, on any screen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.filter import LineFilter
from textual.geometry import Region

from moco_tui.app import MocoApp
from moco_tui.present.lines import Line
from moco_tui.terminal.abilities import AsciiFilter
from moco_tui.terminal.themed_app import ThemedApp
from moco_tui.widgets.panel import Dialog, Frame, Panel, fitted, shared, state_look, theme_style
from moco_tui.widgets.text_panel import TextPanel


class TwoPanels(ThemedApp):
    """One below the other, with the style sheet of the app."""

    CSS_PATH = "../../../moco_tui/app.tcss"
    VERTICAL_BREAKPOINTS = MocoApp.VERTICAL_BREAKPOINTS

    def compose(self) -> ComposeResult:
        yield TextPanel("loss", id="one")
        yield TextPanel("accuracy", id="two")


def top(panel: Panel) -> str:
    width = panel.outer_size.width
    return panel.render_lines(Region(0, 0, width, 1))[0].text


async def test_title_and_state_stand_at_the_ends_of_the_top_line() -> None:
    app = TwoPanels()
    async with app.run_test(size=(60, 40)) as pilot:
        one, two = app.query_one("#one", TextPanel), app.query_one("#two", TextPanel)
        two.key = "2"
        one.show_texts([f"line {n}" for n in range(99)])
        one.focus()
        await pilot.pause()
        assert top(one).startswith("╭─ ▸ loss ──")
        assert top(one).endswith("── 1–18 of 99 ─╮")
        assert top(two).startswith("╭─ 2 accuracy ──")
        assert top(two).endswith("───╮")
        assert cell_len(top(one)) == cell_len(top(two)) == 60
        assert one.render_lines(Region(0, 19, 60, 1))[0].text == f"╰{58 * '─'}╯"


async def test_the_focus_shows_without_colour_too() -> None:
    app = TwoPanels()
    async with app.run_test(size=(60, 40)) as pilot:
        one, two = app.query_one("#one", TextPanel), app.query_one("#two", TextPanel)
        one.focus()
        await pilot.pause()

        def bold(panel: Panel) -> str:
            strip = panel.render_lines(Region(0, 0, 60, 1))[0]
            return "".join(s.text for s in strip if s.style is not None and s.style.bold).strip()

        assert bold(one) == "▸ loss"
        assert not bold(two)
        assert one.styles.border_top[1] != two.styles.border_top[1]


async def test_on_a_low_screen_a_title_line_is_all_the_frame() -> None:
    app = TwoPanels()
    async with app.run_test(size=(80, 24)) as pilot:
        one = app.query_one("#one", TextPanel)
        one.show_texts([f"line {n}" for n in range(99)])
        one.focus()
        await pilot.pause()
        assert top(one).startswith("▸ loss ──")
        assert top(one).endswith("── 1–11 of 99")
        assert one.size == (80, one.outer_size.height - 1)
        assert one.render_lines(Region(0, 1, 80, 1))[0].text.rstrip() == "line 0"


async def test_a_part_of_the_top_line_is_that_part() -> None:
    app = TwoPanels()
    async with app.run_test(size=(60, 40)) as pilot:
        one = app.query_one("#one", TextPanel)
        one.note = [("running", "state-running")]
        await pilot.pause()
        for x, width in ((0, 7), (3, 20), (41, 19)):
            assert one.render_lines(Region(x, 0, width, 2))[0].text == top(one)[x : x + width]


async def test_names_are_no_markup_and_control_nothing() -> None:
    app = TwoPanels()
    async with app.run_test(size=(60, 40)) as pilot:
        one = app.query_one("#one", TextPanel)
        one.title = "[bold]x[/] \x1b[31m"
        await pilot.pause()
        assert "[bold]x[/]" in top(one)
        assert "\x1b" not in top(one)
        assert cell_len(top(one)) == 60


async def test_frames_are_ascii_where_nothing_else_is_shown() -> None:
    class Ascii(TwoPanels):
        def get_line_filters(self) -> list[LineFilter]:
            return [*super().get_line_filters(), AsciiFilter()]

    app = Ascii()
    async with app.run_test(size=(60, 40)) as pilot:
        one = app.query_one("#one", TextPanel)
        one.focus()
        await pilot.pause()
        assert top(one) == f"+- > loss {49 * '-'}+"


@pytest.mark.parametrize("size", [(1, 1), (4, 3), (9, 6), (24, 8), (25, 40)])
async def test_a_panel_of_any_size_is_drawn(size: tuple[int, int]) -> None:
    app = TwoPanels()
    async with app.run_test(size=size) as pilot:
        one = app.query_one("#one", TextPanel)
        one.title, one.key = "a title that is long", "7"
        one.show_texts(["x" * 99] * 99)
        one.focus()
        await pilot.pause()
        assert one.outer_size.width == 0 or cell_len(top(one)) == one.outer_size.width


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_title_and_state_share_what_there_is(title: int, state: int, room: int) -> None:
    left, right = shared(title, state, room)
    assert 0 <= left <= title
    assert 0 <= right <= state
    assert left + right + 3 * bool(right) <= max(room, 0)
    if title + state + 3 <= room and room >= 24:
        assert (left, right) == (title, state)
    if right < state and room >= 24:
        assert left <= 12, "the title gives way first"


@given(st.lists(st.text("ab●", max_size=9), max_size=4), st.integers(0, 30))
def test_parts_are_cut_with_a_sign(texts: list[str], width: int) -> None:
    parts: Line = [(text, "") for text in texts]
    shown = "".join(text for text, _ in fitted(parts, width))
    whole = "".join(texts)
    assert cell_len(shown) == min(cell_len(whole), width)


def test_every_state_of_a_run_has_a_look_of_its_own() -> None:
    from moco_tui.present.run_rows import GLYPHS

    app = TwoPanels()
    app.get_css_variables()
    looks = {state: state_look(state) for state in GLYPHS}
    assert set(looks.values()) >= {f"state-{name}" for name in ("running", "paused", "lost")}
    colours = {look: theme_style(app, look).color for look in looks.values()}
    assert len(set(colours.values())) == len(colours)
    assert state_look("of another version") == "muted"


async def test_what_stands_around_others_is_framed_like_them() -> None:
    class Around(TwoPanels):
        def compose(self) -> ComposeResult:
            with Frame("all", id="one"):
                yield TextPanel("inner", id="two")
            yield Dialog("sure?", id="three")

    app = Around()
    async with app.run_test(size=(60, 20)) as pilot:
        app.query_one("#two").focus()
        await pilot.pause()
        assert top(app.query_one("#one", Frame)).startswith("▸ all ──"), "the focus is within"
        assert top(app.query_one("#three", Dialog)).startswith("╭─ sure? ──"), "on any screen"
