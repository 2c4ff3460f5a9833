"""What screens share, and what becomes of their messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.app import App
from textual.widgets import Static

from moco_tui.app import MocoApp
from moco_tui.screens.compare_screen import CompareScreen
from moco_tui.screens.messages import (
    OpenComparison,
    OpenForm,
    OpenRun,
    OpenStudy,
    Say,
    StartRuns,
)
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.session import READ_ONLY, draws_ascii
from moco_tui.user.user_file import read_user_file

from .conftest import on_screen, some_runs, still_runner, until

MakeApp = Callable[..., MocoApp]


def said(app: MocoApp) -> list[str]:
    return [notification.message for notification in app._notifications]


async def test_of_two_requests_for_a_screen_the_newest_opens(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.runs.rows) == 4)
        for message in (OpenRun("q4r8st"), OpenStudy(), OpenForm(), OpenRun("k7m2qx")):
            app.post_message(message)
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.pause()
        assert [type(screen).__name__ for screen in app.screen_stack[1:]] == ["MonitorScreen"]
        assert on_screen(app, MonitorScreen).folder.id == "k7m2qx"


@pytest.mark.parametrize("turn", [1, 2])
def test_a_form_begins_like_the_last_run_but_of_no_other_test(turn: int, make_app: MakeApp) -> None:
    sessions = [make_app(user=read_user_file()).session for _ in range(2)]
    before = sessions[0].begun_form("pretrain")
    assert before.values["optim.epochs"] != 7, "a test finds what another has run"
    before.set("optim.epochs", "7")
    assert sessions[0].keep_form(before) == ""
    assert sessions[1].begun_form("pretrain").values["optim.epochs"] == 7


def test_no_sentence_and_no_start_is_dropped_for_a_later_one(root: Path, make_app: MakeApp) -> None:
    folder = make_app().session.folder("k7m2qx")
    assert not Say("one").can_replace(Say("two"))
    assert not StartRuns(folder).can_replace(StartRuns(folder))
    assert not OpenRun("k7m2qx").can_replace(Say("two"))


async def test_runs_start_and_the_first_is_shown(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    folders = [app.session.folder(run) for run in ("q4r8st", "f6g3hj")]
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(StartRuns(*folders, show=True))
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert on_screen(app, MonitorScreen).folder == folders[0]
        app.post_message(StartRuns(folders[0], detached=True))
        await until(pilot, lambda: still_runner(app).detached)
    assert still_runner(app).started == folders
    assert still_runner(app).detached == folders[:1]


async def test_runs_are_compared_in_the_order_asked_for(root: Path, make_app: MakeApp) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenComparison(["q4r8st", "k7m2qx"]))
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        compared = on_screen(app, CompareScreen).folders
        assert [folder.id for folder in compared] == [
            "q4r8st",
            "k7m2qx",
        ]


async def test_what_is_said_is_no_markup(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(Say("[bold]a name[/bold]"))
        await until(pilot, lambda: said(app) == ["[bold]a name[/bold]"])


async def test_a_read_only_app_opens_no_form(make_app: MakeApp) -> None:
    app = make_app(read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenForm())
        await until(pilot, lambda: said(app) == [READ_ONLY])
        assert not isinstance(app.screen, NewRunScreen)


async def test_a_widget_in_another_app_draws_more_than_ascii() -> None:
    app: App[None] = App()
    async with app.run_test():
        widget = Static()
        await app.mount(widget)
        assert not draws_ascii(widget)
