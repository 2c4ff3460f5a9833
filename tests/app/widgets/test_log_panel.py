"""The filter of the log: what is typed is no key of the screen, and Escape takes it away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events

from engine.runs import log_lines
from engine.runs.log_lines import LogMatches, matching_lines
from moco_tui.app import MocoApp
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.widgets import log_panel
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


async def searched(pilot: Any, panel: LogPanel) -> None:
    """Wait until the whole log has been searched."""
    await until(pilot, lambda: panel._found is not None)


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
        await searched(pilot, panel)
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
        await searched(pilot, panel)
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


async def test_the_whole_log_is_searched(root: Path, make_app: MakeApp) -> None:
    lines = [f"2026-01-01 10:00:00 {'rare' if n % 1000 == 7 else 'usual'} {n}" for n in range(5000)]
    write_run(root, "r1", steps=20, log="".join(f"{line}\n" for line in lines))
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        app.open_run("r1")
        await until(pilot, lambda: on_screen(app, MonitorScreen).loaded)
        await pilot.press("9")
        panel = app.screen.query_one(LogPanel)
        await until(pilot, lambda: len(panel._all) == 300)
        await pilot.press("slash", *"rar")
        await searched(pilot, panel)
        assert [text.split()[-1] for text in texts(panel)] == ["7", "1007", "2007", "3007", "4007"]
        with (root / "r1" / "log.txt").open("a") as file:
            file.write("a rare one more\nusual\nand a RARE one that is not ended")
        await until(pilot, lambda: texts(panel)[-1] == "and a RARE one that is not ended")
        assert len(texts(panel)) == 7
        with (root / "r1" / "log.txt").open("a") as file:
            file.write(" yet\n")
        await until(pilot, lambda: texts(panel)[-1] == "and a RARE one that is not ended yet")
        assert len(texts(panel)) == 7
        await pilot.press("escape")
        assert len(texts(panel)) == 300


async def test_a_search_that_takes_long_blocks_no_key_and_is_given_up(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(root, "r1", steps=20, log=LOG)
    go_on = threading.Event()
    over: list[str] = []

    def slow(path: Path, wanted: str, begin: int, is_over: Callable[[], bool]) -> LogMatches:
        if wanted == "e":
            assert go_on.wait(60)
            over.extend([wanted] * is_over())
        return matching_lines(path, wanted, begin, is_over)

    monkeypatch.setattr(log_panel, "matching_lines", slow)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        panel = await opened(app, pilot)
        await pilot.press("slash", "e")
        await until(
            pilot, lambda: texts(panel) == [line for line in LOG.splitlines() if "e" in line]
        )
        await asyncio.sleep(0.3)  # the search has begun
        assert panel._found is None
        await pilot.press(*"poch of step 4")
        await searched(pilot, panel)
        assert [text[-6:] for text in texts(panel)] == ["step 4"]
        go_on.set()
        await until(pilot, lambda: over == ["e"])
        assert [text[-6:] for text in texts(panel)] == ["step 4"]


async def test_what_was_not_searched_is_said(
    root: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "MOST_SEARCHED", 10)
    write_run(root, "r1", steps=20, log=LOG)
    app = make_app()
    async with app.run_test(size=(160, 45)) as pilot:
        panel = await opened(app, pilot)
        await pilot.press("slash", *"checkpoint")
        await searched(pilot, panel)
        assert texts(panel)[0] == "lines before these were not searched"
        assert [text.split()[-1] for text in texts(panel)[1:]] == ["21", "24", "27"]
        await pilot.press(*"x")
        await until(pilot, lambda: texts(panel) == ["of its last lines none contains this"])
