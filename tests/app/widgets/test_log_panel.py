"""The filter of the log: what is typed is no key of the screen, and Escape takes it away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from moco_tui.app import MocoApp
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets.log_panel import LogPanel

from ..conftest import on_screen, screen_text, until, write_run

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
LOG = "".join(
    f"2026-01-01 10:00:{n:02d} {'Checkpoint at' if n % 3 == 0 else 'epoch of'} step {n}\n"
    for n in range(30)
)


async def opened(app: MocoApp, pilot: Any, log: str = LOG) -> LogPanel:
    app.open_run("r1")
    await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
    await pilot.press("9")
    panel = app.screen.query_one(LogPanel)
    await until(pilot, lambda: len(panel._all) == log.count("\n") and app.focused is panel)
    return panel


def texts(panel: LogPanel) -> list[str]:
    return ["".join(text for text, _ in line) for line in panel.lines]


@pytest.mark.parametrize("size", SIZES)
async def test_the_lines_that_contain_what_is_typed_are_left(
    root: Path, make_app: MakeApp, size: tuple[int, int]
) -> None:
    write_run(root, "r1", steps=20, log=LOG)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        panel = await opened(app, pilot)
        await pilot.press("slash", *"checkq", "backspace")
        assert texts(panel) == [line for line in LOG.splitlines() if "Checkpoint" in line]
        on_screen(app, MonitorScreen)
        await until(pilot, lambda: "/check▏" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "▏" not in screen_text(app))
        assert len(panel.lines) == 10
        with (root / "r1" / "log.txt").open("a") as file:
            file.write("2026-01-01 11:00:00 a checkpoint more\n2026-01-01 11:00:01 epoch\n")
        await until(pilot, lambda: texts(panel)[-1].endswith("a checkpoint more"))
        await pilot.press("escape")
        assert len(panel.lines) == 32
        on_screen(app, MonitorScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, MonitorScreen))


async def test_what_nothing_contains_is_said_and_a_paste_is_one_line(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "r1", steps=20, log=LOG)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        panel = await opened(app, pilot)
        await pilot.press("slash")
        panel.post_message(events.Paste("\x1b[2Jnothing\nlike it"))
        await until(pilot, lambda: texts(panel) == ["no line contains this"])
        assert panel.filter.isprintable()
        await pilot.press("escape", "slash", *"STEP 3")
        assert [text[-6:] for text in texts(panel)] == ["step 3"]


async def test_keys_act_again_once_the_panel_has_lost_the_focus(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "r1", steps=20, log=LOG)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        panel = await opened(app, pilot)
        await pilot.press("slash", "e", "tab", "2")
        await until(pilot, lambda: app.focused is app.screen.query_one("#accuracy"))
        assert panel.filter == "e"


async def test_letters_in_the_same_burst_as_the_slash_are_typed(
    root: Path, make_app: MakeApp
) -> None:
    write_run(root, "r1", steps=20, log=LOG)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        panel = await opened(app, pilot)
        for key, character in (("slash", "/"), ("e", "e"), ("p", "p")):
            app.post_message(events.Key(key, character))
        await until(pilot, lambda: panel.filter == "ep")
