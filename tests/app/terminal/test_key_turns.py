"""A key acts when the one before it has done what it does, whatever has the focus by then."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input

from moco_tui.terminal.key_turns import KeyTurns


class Question(ModalScreen[bool]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)"),
        Binding("escape", "answer(False)"),
    ]

    def compose(self) -> ComposeResult:
        yield Button("Yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)

    def on_button_pressed(self) -> None:
        self.dismiss(True)


class Slow(Widget, can_focus=True):
    """Space makes another field, which takes a while."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "more", "More")]

    class Wanted(Message):
        pass

    def action_more(self) -> None:
        self.post_message(self.Wanted())


class Form(KeyTurns):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "ask", "Ask"),
        Binding("ctrl+s", "keep", "Keep", priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.answers: list[bool | None] = []

    def compose(self) -> ComposeResult:
        yield Input(id="a", select_on_focus=False)
        yield Input(id="b", select_on_focus=False)
        yield Slow()

    def action_ask(self) -> None:
        self.push_screen(Question(), self.answers.append)

    def action_keep(self) -> None:
        self.kept.append(self.query_one("#a", Input).value)

    async def on_slow_wanted(self) -> None:
        await asyncio.sleep(0.2)
        await self.mount(Input(id="c", select_on_focus=False))
        self.query_one("#c").focus()


def texts(app: Form) -> dict[str, str]:
    return {str(each.id): each.value for each in app.screen.query(Input)}


async def burst(app: Form, *keys: str) -> None:
    """All keys at once, and then until they have acted."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))
    for _ in range(500):
        await asyncio.sleep(0.01)
        if app._turn_ended and not app._keys_waiting:
            break
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["1", "tab", "2", "shift+tab", "3"], {"a": "13", "b": "2"}),
        (["1", "2", "left", "0", "tab", "9", "home", "8"], {"a": "102", "b": "89"}),
        (["tab", "tab", "tab", "x"], {"a": "x", "b": ""}),
        (["tab", "tab", "space", "5", "6"], {"a": "", "b": "", "c": "56"}),
    ],
)
async def test_keys_go_where_the_focus_is_by_then(keys: list[str], found: dict[str, str]) -> None:
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        await burst(app, *keys)
        assert texts(app) == found


async def test_a_key_with_priority_waits_for_those_before_it() -> None:
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        await burst(app, "7", "8", "ctrl+s", "9")
        assert app.kept == ["78"]


@pytest.mark.parametrize(
    ("keys", "answers"),
    [(["y"], [True]), (["escape"], [False]), (["enter"], [True])],
)
async def test_a_dialog_that_opens_takes_the_next_key(keys: list[str], answers: list[bool]) -> None:
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        await burst(app, "1", "f2", *keys, "2")
        assert app.answers == answers
        assert texts(app)["a"] == "12"


async def test_a_paste_waits_as_well() -> None:
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        app.post_message(events.Key("tab", None))
        app.post_message(events.Paste("pasted"))
        await burst(app, "!")
        assert texts(app) == {"a": "", "b": "pasted!"}


async def test_a_screen_that_is_not_ready_holds_the_keys() -> None:
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        app.set_focus(None)
        app.screen.holds_keys = True  # type: ignore[attr-defined]
        app.post_message(events.Key("5", "5"))
        await asyncio.sleep(0.1)
        assert texts(app) == {"a": "", "b": ""}
        app.set_focus(app.query_one("#b"))
        app.screen.holds_keys = False  # type: ignore[attr-defined]
        await burst(app)
        assert texts(app) == {"a": "", "b": "5"}


async def test_a_handler_that_hangs_does_not_hold_up_the_keys_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("moco_tui.terminal.key_turns.LONGEST_SECONDS", 0.1)
    app = Form()
    async with app.run_test() as pilot:
        await pilot.pause()
        held = asyncio.Event()

        async def hang() -> None:
            await held.wait()

        app.query_one("#a").call_later(hang)
        await asyncio.sleep(0.05)
        app.post_message(events.Key("1", "1"))
        app.post_message(events.Key("f2", None))
        await asyncio.sleep(0.5)
        assert app._turn_ended or app._turn > 1, "the second key had its turn"
        held.set()
        await asyncio.sleep(0.2)
        assert texts(app).get("a", "1") == "1"
