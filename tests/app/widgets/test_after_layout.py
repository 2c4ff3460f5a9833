"""What needs places waits for them, also where a widget is busy."""

from __future__ import annotations

import asyncio

from textual.app import App, ComposeResult
from textual.widgets import Static

from moco_tui.widgets.after_layout import after_layout

from ..conftest import until


class Busy(Static):
    """Does something for a while."""

    async def on_click(self) -> None:
        await asyncio.sleep(0.3)


class Two(App[None]):
    CSS = "Busy { width: 30; height: 1; display: none; } Busy.-shown { display: block; }"

    def compose(self) -> ComposeResult:
        yield Busy("text")


async def test_places_are_known_though_the_widget_was_busy_when_it_was_shown() -> None:
    app = Two()
    async with app.run_test() as pilot:
        await pilot.pause()
        busy = app.query_one(Busy)
        early: list[int] = []
        found: list[int] = []
        busy.call_later(busy.on_click)
        await asyncio.sleep(0.05)
        busy.add_class("-shown")
        app.screen.call_after_refresh(lambda: early.append(busy.size.width))
        after_layout(busy, lambda: found.append(busy.size.width))
        await until(pilot, lambda: found)
        assert early == [0], "Textual does this itself by now: do without"
        assert found == [30]


async def test_nothing_is_called_of_a_widget_that_is_gone() -> None:
    app = Two()
    async with app.run_test() as pilot:
        await pilot.pause()
        busy = app.query_one(Busy)
        found: list[int] = []
        busy.refresh(layout=True)
        after_layout(busy, lambda: found.append(1))
        await busy.remove()
        await pilot.pause(0.1)
        assert found == []
