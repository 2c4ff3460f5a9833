"""Terminals that show less: ASCII, no colour; themes; help and palette."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text
from textual.filter import Monochrome
from textual.screen import Screen
from textual.widgets import Static

from moco_tui.app import MocoApp
from moco_tui.present import fmt
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.screens.help_screen import HelpScreen, help_text, key_text, own_bindings
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.terminal.abilities import ascii_only, to_ascii
from moco_tui.widgets.run_table import RunTable

from ..conftest import screen_text, some_runs, until

MakeApp = Callable[..., MocoApp]


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color", "LANG": "de_DE.UTF-8"}, False),
        ({"TERM": "xterm-256color", "LANG": "en_US.utf8"}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "linux", "LANG": "de_DE.UTF-8"}, True),
        ({"TERM": "vt100", "LANG": "de_DE.UTF-8"}, True),
        ({"TERM": "xterm", "LANG": "C"}, True),
        ({"TERM": "xterm", "LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"TERM": "xterm", "LC_ALL": "de_DE.ISO-8859-1"}, True),
        ({"TERM": "linux", "MOCO_TUI_ASCII": "0"}, False),
        ({"TERM": "xterm", "LANG": "C.UTF-8", "MOCO_TUI_ASCII": "1"}, True),
    ],
)
def test_when_to_keep_to_ascii(environ: dict[str, str], wanted: bool) -> None:
    assert ascii_only(environ) is wanted


@pytest.mark.parametrize("text", ["plain", "─│┌●■…", "⣿⡀", "日本", "😀é", "▀▄█", ""])
def test_ascii_takes_as_many_cells(text: str) -> None:
    assert to_ascii(text).isascii()
    assert cell_len(to_ascii(text)) == cell_len(text)


@pytest.mark.parametrize("open_", ["runs", "monitor", "compare", "form", "help"])
async def test_every_screen_can_be_shown_in_ascii(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, open_: str
) -> None:
    monkeypatch.setenv("TERM", "linux")
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        if open_ == "monitor":
            app.open_run("k7m2qx")
            await until(pilot, lambda: "chance" in screen_text(app))
        elif open_ == "compare":
            app.open_comparison(["k7m2qx", "q4r8st"])
            await until(pilot, lambda: "queue_size" in screen_text(app))
        elif open_ == "form":
            app.open_form()
            await until(pilot, lambda: "queue size" in screen_text(app))
        elif open_ == "help":
            await pilot.press("question_mark")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        text = screen_text(app)
        assert text.isascii(), sorted({c for c in text if not c.isascii()})


async def test_no_color_means_no_colour(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "✗ failed" in screen_text(app))
        assert any(isinstance(f, Monochrome) for f in app.get_line_filters())


async def test_light_and_dark(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        assert app.current_theme.dark
        await pilot.press("T")
        assert not app.current_theme.dark
        app.open_run("k7m2qx")
        await until(pilot, lambda: "chance" in screen_text(app))
        await pilot.press("T")
        assert app.current_theme.dark


async def test_help_names_every_key_of_the_screen(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)

        async def check(kind: type[Screen[None]]) -> None:
            await until(pilot, lambda: isinstance(app.screen, kind))
            text = help_text(app.screen).plain
            for node in (app.screen, app):
                for binding in own_bindings(node):
                    assert f"{key_text(binding.key):<22}{binding.description}" in text
            app.action_open("help")
            await until(pilot, lambda: isinstance(app.screen, HelpScreen))
            shown = app.screen.query_one("#help-text", Static).content
            assert isinstance(shown, Text)
            assert shown.plain == text
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, kind))

        await check(RunsScreen)
        app.open_run("k7m2qx")
        await check(MonitorScreen)
        app.open_comparison(["k7m2qx", "q4r8st"])
        await check(CompareScreen)
        app.open_form()
        await check(NewRunScreen)
        for _ in range(3):
            await pilot.press("escape")
            await pilot.pause()
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_the_palette_offers_the_keys_of_the_screen(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {"New pretraining", "Compare", "Filter", "Quit", "Demo", "Theme"} <= set(titles)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4 s"),
        (59.6, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (90_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize("text", ["", "abc", "日本語", "😀😀😀", "x" * 50])
@pytest.mark.parametrize("width", [0, 1, 2, 5, 20])
def test_texts_fit_exactly(text: str, width: int) -> None:
    assert cell_len(fmt.fit(text, width)) == width
    assert cell_len(fmt.fit(text, width, right=True)) == width
