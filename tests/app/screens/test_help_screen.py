"""What help says of a key is what the key does, wherever the focus is; the key line as well."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from moco_tui.app import MocoApp
from moco_tui.screens.help_screen import help_text, own_bindings
from moco_tui.widgets.key_line import KeyLine
from moco_tui.widgets.run_table import RunTable

from ..conftest import some_runs, until
from ..studies import write_study

MakeApp = Callable[..., MocoApp]
SCREENS = ("runs", "pretraining", "probe", "compare", "form", "study", "manual")


async def open_screen(app: MocoApp, pilot: Pilot[Any], name: str) -> Screen[Any]:
    await until(pilot, lambda: app.screen.query_one(RunTable).rows)
    if name == "pretraining":
        app.open_run("k7m2qx")
    elif name == "probe":
        app.open_run("p2b9dz")
    elif name == "compare":
        app.open_comparison(["k7m2qx", "q4r8st"])
    elif name == "form":
        app.open_form()
        await until(pilot, lambda: app.screen.query("#f-moco-queue_size"))
    elif name == "study":
        app.open_run("s5t6dy")
    elif name == "manual":
        app.action_open("manual")
    await until(pilot, lambda: (len(app.screen_stack) > 1) == (name != "runs"))
    await until(pilot, lambda: app.screen.is_mounted and app.screen.focused is not None)
    return app.screen


def has_focus(screen: Screen[Any], widget: Widget) -> bool:
    return screen.focused is widget


def meant(node: Any) -> dict[str, set[str]]:
    """The actions that help lists for each key of a node."""
    found: dict[str, set[str]] = {}
    for binding in own_bindings(node):
        for key in binding.key.split(","):
            found.setdefault(key.strip(), set()).add(binding.action)
    return found


def focusable(screen: Screen[Any]) -> list[Widget]:
    """One widget of each kind that the focus can be on."""
    kinds: dict[type, Widget] = {}
    for widget in screen.query("*"):
        if widget.focusable:
            kinds.setdefault(type(widget), widget)
    return list(kinds.values())


async def focused_in_turn(pilot: Pilot[Any], screen: Screen[Any]) -> AsyncIterator[Widget]:
    """Gives the focus to one widget of each kind, and yields it then."""
    for widget in focusable(screen):
        widget.focus()
        await until(pilot, partial(has_focus, screen, widget))
        yield widget


@pytest.mark.parametrize("name", SCREENS)
async def test_every_key_that_help_names_does_what_it_says(
    root: Path, make_app: MakeApp, name: str
) -> None:
    some_runs(root)
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await open_screen(app, pilot, name)
        async for widget in focused_in_turn(pilot, screen):
            takes_letters = isinstance(widget, Input)
            help_of = [(widget, meant(widget)), (screen, meant(screen)), (app, meant(app))]
            active = screen.active_bindings
            for node, keys in help_of:
                for key, actions in keys.items():
                    if all(node.check_action(a.partition("(")[0], ()) is False for a in actions):
                        continue  # it has nothing to act on, and passes the key on
                    if takes_letters and len(key) == 1:
                        assert key not in active, "a field takes it for its text"
                    elif key in active and not (takes_letters and active[key].node is widget):
                        found = active[key]
                        assert found.binding.action in actions, (
                            f"{name}: {key} is named for {actions} of {node}, and does "
                            f"{found.binding.action} of {found.node} while {widget} has the focus"
                        )


@pytest.mark.parametrize("name", SCREENS)
async def test_the_keys_in_the_words_of_help_are_bound(
    root: Path, make_app: MakeApp, name: str
) -> None:
    """Function keys, digits and named keys; letters cannot be told from words."""
    names = {"Enter": "enter", "Space": "space", "Left": "left", "Right": "right", "Up": "up"}
    names |= {"Down": "down", "comma": "comma", "full stop": "full_stop", "+": "plus"}
    some_runs(root)
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await open_screen(app, pilot, name)
        nodes = [screen, *screen.query("*"), app]
        bound = {key for node in nodes for key in meant(node)}
        words = " ".join(str(getattr(type(node), "HELP", "")) for node in nodes)
        found = set(re.findall(r"\bF\d+\b|\bcomma\b|\bfull stop\b|(?<= )\+(?= )", words))
        found |= set(re.findall(rf"\b(?:{'|'.join(k for k in names if k.isalpha())})\b", words))
        if "1 to 5" in words:
            found |= set("12345")
        assert found
        assert {names.get(key, key.lower()) for key in found} <= bound


@pytest.mark.parametrize("name", ["runs", "form"])
async def test_the_key_line_offers_no_key_that_a_field_takes(
    root: Path, make_app: MakeApp, name: str
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await open_screen(app, pilot, name)
        if name == "runs":
            await pilot.press("slash")
        else:
            screen.query(Input).first().focus()
        await until(pilot, lambda: isinstance(screen.focused, Input))
        line = screen.query_one(KeyLine).render_line(0).text
        assert "^q Quit" in line
        assert "f1 Manual" in line
        shown = {binding.key for _, binding, _, _ in screen.active_bindings.values()}
        assert not shown & set("q?noPcS")
        await pilot.press("q")
        assert isinstance(app.focused, Input)
        assert app.focused.value.endswith("q")


@pytest.mark.parametrize("name", SCREENS)
async def test_no_key_is_drawn_as_a_question_mark_in_ascii(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LANG", "C")
    some_runs(root)
    write_study(root)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        screen = await open_screen(app, pilot, name)
        async for widget in focused_in_turn(pilot, screen):
            line = screen.query_one(KeyLine).render_line(0).text
            assert line.isascii()
            assert line.count("?") == (0 if isinstance(widget, Input) else 1), line
        assert help_text(screen).plain.isascii()
