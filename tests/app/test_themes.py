"""Every theme on real screens: what is painted can be read, and the palette leads to all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.theme import BUILTIN_THEMES

from moco_tui.app import MocoApp
from moco_tui.terminal import themes
from moco_tui.widgets.chart import Chart
from moco_tui.widgets.run_table import RunTable

from .conftest import some_runs, until

MakeApp = Callable[..., MocoApp]
NAMES = [theme.name for theme in (*BUILTIN_THEMES.values(), *themes.OWN)]
FRAMES = frozenset("─│╭╮╰╯┬┴├┤┼╌░▁▔▎▏▊━")
"""Lines and shades, which are to be seen and not to be read."""


def luminance(rgb: tuple[int, int, int]) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [part / 255 for part in rgb]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def painted(app: MocoApp) -> Iterator[Segment]:
    """The pieces of text on the screen."""
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            if segment.text.strip() and segment.style is not None and not segment.control:
                yield segment


def too_faint(app: MocoApp) -> list[tuple[str, float]]:
    """Texts on the screen that stand out too little from what is behind them."""
    found = []
    for segment in painted(app):
        style = segment.style
        assert style is not None
        if style.color is None or style.bgcolor is None or style.dim:
            continue
        fore, back = style.color.triplet, style.bgcolor.triplet
        assert fore is not None
        assert back is not None
        first, second = luminance(fore) + 0.05, luminance(back) + 0.05
        ratio = max(first, second) / min(first, second)
        line = not set(segment.text) - FRAMES - {" "}
        if ratio < (1.5 if line else 4.4):
            found.append((segment.text.strip(), round(ratio, 2)))
    return found


@pytest.mark.parametrize("half", [0, 1])
async def test_what_is_painted_can_be_read_in_every_theme(
    root: Path, make_app: MakeApp, half: int
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        if half:
            app.open_run("k7m2qx")
            await until(pilot, lambda: len(app.screen.query_one("#loss", Chart).curves[0].series))
            await pilot.press("left")
        for name in NAMES:
            app.theme = name
            await pilot.pause()
            if not app.current_theme.ansi:  # there the terminal has the colours
                assert too_faint(app) == [], name


async def test_a_theme_is_one_word_and_all_are_in_the_palette(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        assert app.theme == themes.DARK
        assert set(NAMES) <= set(app.available_themes)
        await pilot.press("T")
        assert app.theme == themes.LIGHT
        await pilot.press("T")
        assert app.theme == themes.DARK
        app.search_themes()
        await pilot.pause()
        await pilot.press(*"high-contrast-light")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "high-contrast-light")


async def test_sixteen_colours_are_used_as_the_terminal_has_them(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    some_runs(root)
    app = make_app()
    assert app.theme == themes.DARK, "an app without its terminal has one look"
    app.suit_terminal()
    async with app.run_test(size=(140, 40)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: len(app.screen.query_one("#loss", Chart).curves[0].series))
        await pilot.pause()
        colours = {
            colour
            for segment in painted(app)
            if segment.style is not None
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None
        }
        assert all(colour.is_default or colour.number is not None for colour in colours)


async def test_without_colour_nothing_is_coloured(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(140, 40)) as pilot:
        app.open_run("k7m2qx")
        await until(pilot, lambda: len(app.screen.query_one("#loss", Chart).curves[0].series))
        await pilot.pause()
        for segment in painted(app):
            assert segment.style is not None
            for colour in (segment.style.color, segment.style.bgcolor):
                if colour is not None and colour.triplet is not None:
                    assert len(set(colour.triplet)) == 1, (segment.text, colour)
