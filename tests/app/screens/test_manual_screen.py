"""The manual in the app: opened from every screen, read by keys alone, links inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Markdown, OptionList, Tree
from textual.widgets.markdown import MarkdownFence

from moco_tui.app import MocoApp
from moco_tui.present.manual_pages import PAGES, manual_page
from moco_tui.screens.manual_screen import ManualScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.widgets.manual_viewer import ManualViewer
from moco_tui.widgets.run_table import RunTable

from ..conftest import screen_text, some_runs, until
from ..studies import write_study

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]


async def manual(pilot: Pilot[Any], app: MocoApp, key: str = "f1") -> ManualScreen:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, ManualScreen))
    screen = app.screen
    assert isinstance(screen, ManualScreen)
    await until(pilot, lambda: screen.query_one(Markdown).source)
    return screen


def shows(app: MocoApp, page: str) -> bool:
    viewer = app.screen.query_one(ManualViewer)
    return viewer.document.source == manual_page(page).text


def says(app: MocoApp, words: str) -> bool:
    return words in screen_text(app)


def is_shown(app: MocoApp, screen: Screen[Any]) -> bool:
    return app.screen is screen


@pytest.mark.parametrize("size", SIZES)
async def test_f1_opens_the_page_of_a_screen_and_escape_goes_back(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    write_study(root)
    app = make_app()
    opens: list[tuple[str, str, Callable[[], None]]] = [
        ("runs", "Filter, sort, group", lambda: None),
        ("monitor", "The charts of one run", lambda: app.open_run("k7m2qx")),
        ("form", "Configure a pretraining", app.open_form),
        ("studies", "A whole experiment", lambda: app.open_run("s5t6dy")),
        ("runs", "Comparing runs", lambda: app.open_comparison(["k7m2qx", "q4r8st"])),
        ("runs", "brings the last", lambda: app.action_open("trash")),
    ]
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunTable).rows)
        for page, words, open_it in opens if size == SIZES[0] else opens[:1]:
            open_it()
            await until(pilot, lambda: app.screen.is_mounted and app.screen.focused is not None)
            below = app.screen
            await manual(pilot, app)
            await until(pilot, partial(shows, app, page))
            await until(pilot, partial(says, app, words))
            assert f"moco-tui manual {page}" in screen_text(app)
            await pilot.press("escape")
            await until(pilot, partial(is_shown, app, below))
            app.show_runs()
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_every_page_is_reached_and_read_by_keys(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunTable).rows)
        screen = await manual(pilot, app)
        await until(pilot, lambda: shows(app, "runs"))
        viewer = screen.query_one(ManualViewer)
        await pilot.press("down", "j", "pagedown")
        await until(pilot, lambda: viewer.scroll_y > 2)
        at = viewer.scroll_y
        await pilot.press("2")
        assert isinstance(screen.focused, OptionList)
        assert "When something goes wrong" in screen_text(app)
        screen.query_one("#pages", OptionList).highlighted = PAGES.index("look")
        await pilot.press("enter")
        await until(pilot, lambda: shows(app, "look"))
        await until(pilot, lambda: isinstance(screen.focused, Markdown))
        assert "What encoders make of images" in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: shows(app, "runs") and viewer.scroll_y == at)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


@pytest.mark.parametrize("size", SIZES)
async def test_the_headings_lead_to_their_place(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunTable).rows)
        screen = await manual(pilot, app)
        await until(pilot, lambda: shows(app, "runs"))
        await pilot.press("3")
        tree = screen.query_one(Tree)
        await until(pilot, lambda: screen.focused is tree and tree.root.children)
        headings = [str(node.label).strip() for node in tree.root.children]
        assert headings == ["States", "Columns", "Filters", *headings[3:]]
        assert headings[-1] == "The trash"
        assert "Comparing runs" in screen_text(app)
        await pilot.press("down", "down", "down", "enter")
        viewer = screen.query_one(ManualViewer)
        await until(pilot, lambda: isinstance(screen.focused, Markdown) and viewer.scroll_y > 0)
        await until(pilot, lambda: "filters, and so does" in screen_text(app))


async def test_links_stay_in_the_manual_and_others_are_shown_and_not_opened(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_runs(root)
    app = make_app()
    opened: list[str] = []
    monkeypatch.setattr(app, "open_url", lambda url, **_: opened.append(url))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunTable).rows)
        screen = await manual(pilot, app)
        await until(pilot, lambda: shows(app, "runs"))
        viewer = screen.query_one(ManualViewer)

        def follow(href: str) -> None:
            viewer.document.post_message(Markdown.LinkClicked(viewer.document, href))

        follow("studies.md#intervals-and-verdicts")
        await until(pilot, lambda: shows(app, "studies"))
        await until(pilot, lambda: "Intervals and verdicts" in screen_text(app))
        follow("#axes")
        await until(pilot, lambda: "By itself a study varies the queue size" in screen_text(app))
        href = "https://example.org/[bold]x"
        follow(href)
        await until(pilot, lambda: any(href in n.message for n in app._notifications))
        assert shows(app, "studies")
        await pilot.press("escape")
        await until(pilot, lambda: "Intervals and verdicts" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: shows(app, "runs"))
    assert opened == []


async def test_a_link_of_a_page_is_followed_by_the_mouse(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        screen = await manual(pilot, app)
        await screen._show("form")
        await until(pilot, lambda: shows(app, "form"))
        viewer = screen.query_one(ManualViewer)
        viewer.scroll_to(y=12, animate=False)
        await until(pilot, lambda: "See remote" in screen_text(app))
        lines = screen_text(app).splitlines()
        y = next(n for n, line in enumerate(lines) if "See remote" in line)
        await pilot.click(offset=(lines[y].index("remote") + 1, y))
        await until(pilot, lambda: shows(app, "remote"))


async def test_it_opens_once_and_from_the_palette_too(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        screen = await manual(pilot, app)
        await until(pilot, lambda: shows(app, "runs"))
        await pilot.press("f1")
        await pilot.pause()
        assert app.screen is screen, "it opened over itself"
        await pilot.press("question_mark")
        await until(pilot, lambda: "Headings of the page" in screen_text(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        app.action_open("trash")
        await until(pilot, lambda: app.screen.query("#trash"))
        await pilot.press("ctrl+p")
        await pilot.press(*"manual")
        await until(pilot, lambda: "The page of this screen" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ManualScreen) and shows(app, "runs"))
        await until(pilot, lambda: "brings the last" in screen_text(app))


async def test_every_page_is_drawn_in_the_width_of_a_small_screen(make_app: MakeApp) -> None:
    """What is made from the code is not cut."""
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        screen = await manual(pilot, app)
        for name in PAGES:
            await screen._show(name)
            await until(pilot, partial(says, app, manual_page(name).summary.replace("`", "")[:40]))
            fences = screen.query("MarkdownFence").results(MarkdownFence)
            long = [
                line
                for fence in fences
                if fence.lexer == "text"
                for line in fence.code.splitlines()
                if len(line) > fence.size.width - 2
            ]
            assert long == []
