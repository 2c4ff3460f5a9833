"""The input for one line: what comes in a burst is taken in the order in which it was typed."""

from __future__ import annotations

import pytest
from textual import events
from textual.app import App, ComposeResult

from moco_tui.widgets.line_input import LineInput


class OneLine(App[None]):
    def compose(self) -> ComposeResult:
        yield LineInput("cifar10", select_on_focus=False)


def typed(key: str) -> events.Key:
    return events.Key(key, key if len(key) == 1 else None)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["backspace"] * 7 + list("shapes"), "shapes"),
        (["home", "x", "end", "y"], "xcifar10y"),
        (["left", "left", "delete", "9"], "cifar90"),
        (["ctrl+u", *"a1"], "a1"),
    ],
)
async def test_a_burst_of_keys_is_taken_in_order(keys: list[str], value: str) -> None:
    app = OneLine()
    async with app.run_test() as pilot:
        line = app.query_one(LineInput)
        line.focus()
        line.cursor_position = len(line.value)
        await pilot.pause()
        for key in keys:
            app.post_message(typed(key))
        await pilot.pause()
        await pilot.pause()
        assert line.value == value
