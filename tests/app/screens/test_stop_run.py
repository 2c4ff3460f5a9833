"""Stopping a run from a screen: a question first, unless the person wants none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, StudyConfig
from engine.runs import RunFolder
from engine.runs.root import create
from moco_tui.app import MocoApp
from moco_tui.present.stop_text import stop_question
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.training.runner import Runner
from moco_tui.user.user_file import UserFile
from moco_tui.user.user_schema import UserConfig
from moco_tui.widgets.run_table import RunTable

from ..conftest import FakeTrainer, on_screen, some_runs, until

MakeApp = Callable[..., MocoApp]
SIZES = [(80, 24), (160, 45)]
NOT_ASKED = UserFile(Path(), UserConfig(ask_before_stop=False))


def question(app: MocoApp) -> str:
    """What the dialog asks; it has to fit."""
    asked = on_screen(app, Confirm).query_one(".question", Static)
    assert asked.size.height == asked.virtual_size.height
    return str(asked.render())


def said(app: MocoApp, text: str) -> bool:
    return any(text in note.message for note in app._notifications)


async def with_run(
    app: MocoApp, pilot: Pilot[Any], folder: RunFolder, where: str, runner: Runner
) -> None:
    """Trains the run, and shows it where it is to be stopped."""
    app.start_runs(folder)
    await until(pilot, lambda: runner.active == folder)
    if where == "runs":
        table = app.query_one(RunTable)
        await until(pilot, lambda: any(row.id == folder.id for row, _ in table.rows))
        table.select(folder.id)
        await until(pilot, lambda: app.session.runs.rows[folder.id].status == "running")
    else:
        app.open_run(folder.id)
        await until(pilot, lambda: getattr(app.screen, "status", "") == "running")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", ["monitor", "runs", "study"])
async def test_the_run_goes_on_until_a_person_has_said_yes(
    root: Path, make_app: MakeApp, tmp_path: Path, where: str, size: tuple[int, int]
) -> None:
    trainer = FakeTrainer()
    runner = Runner(tmp_path, execute=trainer)
    app = make_app(runner=runner)
    kind = "study" if where == "study" else "pretrain"
    config = resolve(StudyConfig if kind == "study" else PretrainConfig)
    folder = create(root, kind, config, name="[b]mine")
    async with app.run_test(size=size) as pilot:
        await with_run(app, pilot, folder, where, runner)
        screen = app.screen
        for no in ("escape", "n"):
            await pilot.press("s")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            assert f"Stop [b]mine ({folder.id})?" in question(app)
            assert "with a checkpoint" in question(app)
            assert "r goes on from there" in question(app)
            await pilot.press(no)
            await until(pilot, lambda: app.screen is screen)
        assert not folder.pending_requests()
        assert folder.record().status == "running"
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await until(pilot, lambda: runner.join(0))
    assert folder.record().status == "stopped"
    assert trainer.outcomes == ["stopped"]


@pytest.mark.parametrize("where", ["monitor", "runs"])
async def test_who_wants_no_question_gets_none(
    root: Path, make_app: MakeApp, tmp_path: Path, where: str
) -> None:
    runner = Runner(tmp_path, execute=FakeTrainer())
    app = make_app(runner=runner, user=NOT_ASKED)
    folder = create(root, "pretrain", resolve(PretrainConfig))
    async with app.run_test(size=(80, 24)) as pilot:
        await with_run(app, pilot, folder, where, runner)
        await pilot.press("s")
        await until(pilot, lambda: runner.join(0))
        assert not isinstance(app.screen, Confirm)
    assert folder.record().status == "stopped"


async def test_a_run_that_ended_under_the_question_is_left_alone(
    root: Path, make_app: MakeApp, tmp_path: Path
) -> None:
    runner = Runner(tmp_path, execute=FakeTrainer())
    app = make_app(runner=runner)
    folder = create(root, "pretrain", resolve(PretrainConfig))
    async with app.run_test(size=(80, 24)) as pilot:
        await with_run(app, pilot, folder, "runs", runner)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        folder.request("stop")
        await until(pilot, lambda: runner.join(0))
        await pilot.press("y")
        await until(pilot, lambda: said(app, folder.id))
        on_screen(app, RunsScreen)
    assert not folder.pending_requests()


async def test_in_the_table_a_run_that_has_ended_has_nothing_to_stop(
    root: Path, make_app: MakeApp
) -> None:
    some_runs(root)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.query_one(RunTable).rows) == 4)
        app.query_one(RunTable).select("k7m2qx")
        await pilot.press("s")
        await until(pilot, lambda: said(app, "is finished; there is nothing to stop"))
        on_screen(app, RunsScreen)


async def test_a_read_only_app_stops_nothing(root: Path, make_app: MakeApp, tmp_path: Path) -> None:
    other = Runner(tmp_path, execute=FakeTrainer())
    app = make_app(read_only=True)
    folder = create(root, "pretrain", resolve(PretrainConfig))
    other.start(folder)
    async with app.run_test(size=(80, 24)) as pilot:
        app.open_run(folder.id)
        await until(pilot, lambda: getattr(app.screen, "status", "") == "running")
        await pilot.press("s")
        await until(pilot, lambda: app._notifications)
        assert not isinstance(app.screen, Confirm)
    assert not folder.pending_requests()
    folder.request("stop")
    assert other.join(60)


def test_the_question_says_what_each_kind_keeps() -> None:
    assert stop_question("k7m2qx", "k7m2qx", "probe", "running").startswith("Stop k7m2qx? ")
    assert "rows that are ready stay" in stop_question("a", "b", "probe", "paused")
    assert "What is finished stays" in stop_question("a", "b", "study", "running")
    for kind in ("pretrain", "probe", "study"):
        assert "has not begun" in stop_question("a", "b", kind, "queued")
