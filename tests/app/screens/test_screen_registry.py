"""A screen is one module and one line of the registry; nothing below the app imports it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.runs.encoder_look import LookRequest
from moco_tui.app import MocoApp
from moco_tui.screens import screen_registry
from moco_tui.screens.screen_registry import SCREENS, ScreenEntry
from moco_tui.session import Session

from ..conftest import NOW, StillRunner, screen_text, some_runs, until

MODULE = """
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from moco_tui.screens.base_screen import BaseScreen
from moco_tui.screens.messages import OpenRun


class QueueScreen(BaseScreen):
    TITLE_TEXT = "Queue"
    BINDINGS = [Binding("x", "first", "First run")]

    def content(self) -> ComposeResult:
        yield Static(f"runs in {self.session.root.name}", id="words")

    def action_first(self) -> None:
        self.ask_app(OpenRun("k7m2qx"))
"""


@pytest.fixture
def app(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MocoApp:
    """An app of which one screen more is a module and a line."""
    (tmp_path / "queue_screen.py").write_text(MODULE, encoding="utf-8")
    style = tmp_path / "queue_screen.tcss"
    style.write_text("QueueScreen { #words { width: 17; } }", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    entry = ScreenEntry(
        "queue_screen:QueueScreen", str(style), "Q", title="Queue", summary="What waits"
    )
    monkeypatch.setitem(SCREENS, "queue", entry)
    some_runs(root)
    session = Session(root, data_dir=tmp_path, runner=StillRunner(tmp_path), clock=lambda: NOW)
    made: MocoApp = _fresh_app_module().MocoApp(session)
    return made


def _fresh_app_module() -> ModuleType:
    """The app's module read anew, as at a start with the registry as it is now."""
    spec = importlib.util.find_spec("moco_tui.app")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_new_screen_opens_by_its_key(app: MocoApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Q Queue" in screen_text(app))
        await pilot.press("Q")
        await until(pilot, lambda: "runs in runs" in screen_text(app))
        assert app.screen.query_one("#words").size.width == 17, "its style sheet is not read"
        depth = len(app.screen_stack)
        await pilot.press("Q")
        await pilot.pause()
        assert len(app.screen_stack) == depth, "it opened over itself"
        await pilot.press("f1")
        await until(pilot, lambda: "First run" in screen_text(app))
        await pilot.press("escape", "x")
        await until(pilot, lambda: type(app.screen).__name__ == "MonitorScreen")


async def test_a_new_screen_opens_by_the_command_palette(app: MocoApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Q Queue" in screen_text(app))
        await pilot.press("ctrl+p")
        await pilot.press(*"queue")
        await until(pilot, lambda: "What waits" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: type(app.screen).__name__ == "QueueScreen")


@pytest.mark.parametrize("name", SCREENS)
async def test_every_screen_of_the_registry_opens(
    root: Path, make_app: Callable[..., MocoApp], name: str
) -> None:
    some_runs(root)
    app = make_app()
    arguments: dict[str, dict[str, Any]] = {
        "monitor": {"folder": app.session.folder("k7m2qx")},
        "study": {"folder": app.session.folder("k7m2qx")},
        "branch": {"source": "k7m2qx"},
        "look": {"request": LookRequest(encoders=(("k7m2qx", ""),))},
        "compare": {"folders": [app.session.folder(run) for run in ("k7m2qx", "q4r8st")]},
    }
    screen = screen_registry.create(name, app.session, **arguments.get(name, {}))
    assert type(screen) is SCREENS[name].load()
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(screen)
        await until(pilot, lambda: app.screen is screen and screen.is_current)


def test_every_style_sheet_belongs_to_a_screen() -> None:
    """One that no line names would style nothing."""
    folder = Path(screen_registry.__file__).parent
    assert sorted(folder.glob("*.tcss")) == sorted(map(Path, screen_registry.style_sheets()))
