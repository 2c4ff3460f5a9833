"""What is written to the terminal piece by piece is what a whole screen would be; and how much."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
import pytest
from rich.console import RenderableType
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from moco_tui.app import MocoApp

from .conftest import some_runs, until
from .studies import write_study

MakeApp = Callable[..., MocoApp]
WIDTH, HEIGHT = 160, 45


class Painted:
    """A terminal that gets what the app writes, and counts it."""

    def __init__(self, app: MocoApp, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.written = app, 0
        self._screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.Stream(self._screen)
        display = app._display

        def keep(screen: Screen[Any], update: RenderableType | None) -> None:
            display(screen, update)
            if isinstance(update, CompositorUpdate) and not app._batch_count:
                text = update.render_segments(app.console)
                self.written += len(text.encode())
                self._stream.feed(text.replace("\n", ""))

        monkeypatch.setattr(app, "_display", keep)

    def is_whole(self) -> bool:
        """Whether it shows what it would with all styles found and all lines drawn again."""
        screen = self.app.screen
        self.app.stylesheet.update_nodes(list(screen.walk_children(with_self=True)))
        for widget in screen.walk_children(with_self=True):
            widget._styles_cache.clear()  # type: ignore[attr-defined] # of widgets
        other = pyte.Screen(WIDTH, HEIGHT)
        text = screen._compositor.render_full_update().render_segments(self.app.console)
        pyte.Stream(other).feed(text.replace("\n", ""))
        return all(
            self._screen.buffer[y][x] == other.buffer[y][x]
            for y in range(HEIGHT)
            for x in range(WIDTH)
        )


OPENS: dict[str, Callable[[MocoApp], None]] = {
    "runs": lambda app: None,
    "form": lambda app: app.open_form(),
    "probe-form": lambda app: app.open_form(parent="k7m2qx"),
    "study-form": lambda app: app.open_form(kind="study"),
    "monitor": lambda app: app.open_run("k7m2qx"),
    "study": lambda app: app.open_run("s5t6dy"),
    "trash": lambda app: app.action_open("trash"),
    "manual": lambda app: app.action_open("manual"),
    "compare": lambda app: app.open_comparison(["k7m2qx", "q4r8st"]),
}
FIRST = {
    "runs": ["tab", "tab", "shift+tab", "shift+tab"],
    "trash": ["tab"],
    "manual": ["tab", "tab"],
}
"""Keys that come first: they lead into panels that hold others, and out of them."""
KEYS = ["tab", "shift+tab", "down", "down", "up", "right", "left", "pagedown", "home", "end", "1"]
KEYS += ["2", "3"]


@pytest.mark.parametrize("name", OPENS)
async def test_what_keys_write_is_what_a_whole_screen_would_be(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_study(root)
    some_runs(root)
    app = make_app()
    chance = random.Random(name)
    # what the app costs is another number each second
    monkeypatch.setattr("moco_tui.screens.watch_screen.WatchScreen.show_cost", lambda _: None)
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        painted = Painted(app, monkeypatch)
        await until(pilot, lambda: app.session.runs.loaded)
        OPENS[name](app)
        await until(pilot, lambda: len(app.screen_stack) == 1 + (name != "runs"))
        await pilot.pause(1.0)
        app.screen.refresh()
        await pilot.pause(0.2)
        for key in [*FIRST.get(name, ()), *chance.choices(KEYS, k=10)]:
            await pilot.press(key)
            await pilot.pause()
            await until(pilot, painted.is_whole)


@pytest.mark.parametrize("name", ["runs", "form"])
async def test_a_key_writes_what_it_changes(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A whole screen of this size is more than 20,000 bytes, which a slow connection holds up."""
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        await until(pilot, lambda: app.session.runs.loaded)
        if name == "runs":
            await pilot.press("v")  # without the preview, which is another for each run
        else:
            OPENS[name](app)
        await pilot.pause(1.0)
        painted = Painted(app, monkeypatch)
        app.screen.refresh()
        await pilot.pause(0.5)
        whole, painted.written = painted.written, 0
        for _ in range(4):
            await pilot.press("down" if name == "form" else "j")
            await pilot.pause(0.2)
        assert whole > 10_000
        assert 100 < painted.written / 4 < whole / 4
