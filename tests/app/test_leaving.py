"""Leaving the app with a run active, and the thread that trains."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Static

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.errors import TrainingError
from engine.runs import RunFolder, create, own
from moco_tui.app import MocoApp
from moco_tui.app_life import _handed_over
from moco_tui.screens.dialogs import Leave
from moco_tui.training.runner import Runner

from .conftest import FakeTrainer, screen_text, until

MakeApp = Callable[..., MocoApp]


class Recording(Runner):
    """Trains with the fake; hands over by stopping and remembering what would go on."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, execute=FakeTrainer())

    def hand_over(self, *, leaving: bool = False) -> bool:
        active = self.active
        waiting = self.leave()
        if active is not None:
            active.request("hand-over")
            self.handed_over.append(active)
        self.join()
        self.handed_over += waiting
        return True


def new_run(root: Path) -> RunFolder:
    return create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"), name="busy")


def test_only_runs_that_still_go_on_are_said_to(root: Path, tmp_path: Path) -> None:
    """A run may be handed over and end before the app is left."""
    runner = Runner(tmp_path)
    ended, goes_on, waits, dropped = (new_run(root) for _ in range(4))
    runner.handed_over += [ended, goes_on, waits, dropped]
    with own(ended) as owner:
        owner.transition("running")
        owner.transition("finished")
    assert _handed_over(runner) == ""
    with own(goes_on) as owner, own(waits):
        owner.transition("running")
        assert _handed_over(runner) == (
            f"{goes_on.id}, {waits.id} go on in the background; moco-tui shows them."
        )
    assert _handed_over(runner) == "", "its process is gone"
    assert _handed_over(Runner(tmp_path)) == ""


async def test_without_a_run_it_just_leaves(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert app.return_value == 0


async def test_no_worker_looks_for_widgets_that_went_before_it(make_app: MakeApp) -> None:
    """The widgets of a screen go one by one, and only then the screen with its workers."""
    app, found = make_app(), asyncio.Event()

    class Last(Static):
        async def on_unmount(self) -> None:
            found.set()
            for _ in range(20):  # what the worker waited for comes now
                await asyncio.sleep(0)

    class Finding(Screen[None]):
        def compose(self) -> ComposeResult:
            yield Static(id="state")
            yield Last()

        def on_mount(self) -> None:
            self.run_worker(self.find())

        async def find(self) -> None:
            await found.wait()
            self.query_one("#state", Static).update("found")

    async with app.run_test() as pilot:
        await app.push_screen(Finding())
        await pilot.pause()
    assert found.is_set()


@pytest.mark.parametrize("way", ["stop", "keep", "cancel"])
async def test_the_three_ways_to_leave(
    root: Path, make_app: MakeApp, tmp_path: Path, way: str
) -> None:
    runner = Recording(tmp_path)
    app = make_app(runner=runner)
    folder, waiting = new_run(root), new_run(root)
    async with app.run_test(size=(80, 24)) as pilot:
        app.start_runs(folder)
        app.start_runs(waiting)
        await until(pilot, lambda: folder.record().status == "running")
        assert runner.waiting == (waiting,)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Leave))
        assert "busy is training in this app" in screen_text(app)
        await pilot.press({"stop": "s", "keep": "k", "cancel": "escape"}[way])
        if way == "cancel":
            await until(pilot, lambda: not isinstance(app.screen, Leave))
            assert folder.record().status == "running"
            assert runner.waiting == (waiting,)
            runner.leave()
            folder.request("stop")
        await until(pilot, lambda: runner.join(0))
        await pilot.pause()
    assert folder.record().status == ("handed-over" if way == "keep" else "stopped")
    assert folder.record().checkpoint_step == folder.record().step
    assert runner.handed_over == ([folder, waiting] if way == "keep" else [])
    assert waiting.record().status == "queued"


async def test_ctrl_q_asks_too(root: Path, make_app: MakeApp, tmp_path: Path) -> None:
    runner = Recording(tmp_path)
    app = make_app(runner=runner)
    folder = new_run(root)
    async with app.run_test(size=(80, 24)) as pilot:
        app.start_runs(folder)
        await until(pilot, lambda: folder.record().status == "running")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, Leave))
        await pilot.press("s")
        await until(pilot, lambda: runner.join(0))


def test_runs_start_in_turn_and_an_error_does_not_end_the_queue(root: Path, tmp_path: Path) -> None:
    order: list[str] = []
    gate = threading.Event()

    def execute(folder: RunFolder, **rest: object) -> None:
        assert threading.current_thread().name == "trainer"
        gate.wait(60)
        order.append(folder.id)
        if len(order) == 1:
            raise TrainingError("The loss became nan.")
        if len(order) == 2:
            raise ValueError("not a sentence")

    runner = Runner(tmp_path, execute=execute)
    runs = [new_run(root) for _ in range(4)]
    assert runner.start(runs[0])
    assert [runner.start(run) for run in runs[1:]] == [False] * 3
    runner.start(runs[1])  # twice is once
    assert runner.drop(runs[3])
    gate.set()
    assert runner.join(60)
    assert order == [run.id for run in runs[:3]]
    sentences = [text for _, text in runner.messages]
    assert sentences[0] == "The loss became nan."
    assert "ValueError" in sentences[1]
    assert runner.active is None
    assert not runner.busy
    assert runner.start(runs[3]), "a thread of its own begins anew"
    assert runner.join(60)


def test_no_run_starts_after_leaving(root: Path, tmp_path: Path) -> None:
    began, gate, done = threading.Event(), threading.Event(), []

    def execute(folder: RunFolder, **rest: object) -> None:
        began.set()
        gate.wait(60)
        done.append(folder)

    runner = Runner(tmp_path, execute=execute)
    first, second = new_run(root), new_run(root)
    runner.start(first)
    assert began.wait(60)
    runner.start(second)
    assert runner.leave() == (second,)
    gate.set()
    assert runner.join(60)
    assert done == [first]
