"""The devices in the app: a queue for each, who is on which, and what the form says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.widgets import OptionList

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.machine.cards import Card
from engine.machine.load_reader import Load, LoadReader
from engine.runs import RunFolder, create
from moco_tui.app import MocoApp
from moco_tui.screens.devices_screen import DevicesScreen
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.screens.new_run_screen import NewRunScreen
from moco_tui.screens.runs_screen import RunsScreen
from moco_tui.training.device_lanes import DeviceLanes
from moco_tui.training.runner import Runner

from ..conftest import FakeTrainer, on_screen, screen_text, until
from ..spawned import Spawned

MakeApp = Callable[..., MocoApp]
GIB = 2**30
CARDS = [
    Card("NVIDIA A", used=GIB, total=80 * GIB, index=0, uuid="aaaa", others_count=0),
    Card("NVIDIA B", used=GIB, total=80 * GIB, index=1, uuid="bbbb", others_count=0),
]


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(cores=2, used=GIB, total=16 * GIB, cards=CARDS)
    monkeypatch.setattr(LoadReader, "read", lambda self: load)


@pytest.fixture
def held() -> dict[str, str]:
    """Who has the lock of a card outside of the app."""
    return {}


@pytest.fixture
def runner(tmp_path: Path, held: dict[str, str]) -> Iterator[Runner]:
    lanes = DeviceLanes(holder=lambda key: held.get(key.removeprefix("cuda-"), ""))
    runner = Runner(tmp_path, execute=FakeTrainer(), lanes=lanes)
    yield runner
    runner.leave()
    if runner.active is not None:
        runner.active.request("stop")
    assert runner.join(60)


def new_run(root: Path, device: str, name: str) -> RunFolder:
    sets = (f"runtime.device={device}",)
    config = resolve(PretrainConfig, preset_name="quick", sets=sets)
    return create(root, "pretrain", config, name=name)


def lines(app: MocoApp) -> list[str]:
    devices = on_screen(app, DevicesScreen).query_one("#devices", OptionList)
    return [str(option.prompt) for option in devices.options]


def listening(app: MocoApp) -> list[str]:
    said: list[str] = []
    app.say = lambda text, **options: said.append(text)  # type: ignore[method-assign]
    return said


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_each_device_has_a_run_and_a_queue_of_its_own(
    root: Path,
    make_app: MakeApp,
    runner: Runner,
    apart: Spawned,
    held: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    monkeypatch.setattr("moco_tui.screens.devices_screen.LOOK_SECONDS", 0.05)
    host = [""]
    monkeypatch.setattr("moco_tui.screens.devices_screen.host_name", lambda: host[0])
    app = make_app(runner=runner)
    said = listening(app)
    async with app.run_test(size=size) as pilot:
        one, behind = new_run(root, "cuda:0", "one"), new_run(root, "cuda:0", "behind")
        other = new_run(root, "cuda:1", "other")
        app.start_runs(one)
        await until(pilot, lambda: runner.active == one)
        app.start_runs(behind)
        assert said[-1] == "It starts when the run before it on cuda:0 has ended."
        app.start_runs(other)
        assert [ids for ids, _ in apart.calls] == [[other.id]], "on a free card at once"
        host[0] = one.record().host
        held["aaaa"] = f"run {one.id} (process 7)"
        monkeypatch.setattr(
            "moco_tui.screens.devices_screen.holder_of",
            lambda key: held.get(key.removeprefix("cuda-"), ""),
        )
        await pilot.press("G")
        await until(pilot, lambda: len(lines(app)) == 3 and "one" in lines(app)[0])
        assert lines(app)[0].startswith(" cuda:0   NVIDIA A, 79.0 GiB")
        assert lines(app)[0].endswith("one; 1 run: behind waiting")
        assert lines(app)[1].startswith(" cuda:1   NVIDIA B, 79.0 GiB")
        assert "behind waiting" in screen_text(app)
        held["bbbb"] = "run zz (process 9)"  # the child has begun, or anybody else has
        await until(pilot, lambda: lines(app)[1].endswith("run zz (process 9)"))
        await pilot.press("enter")
        await until(pilot, lambda: on_screen(app, MonitorScreen).folder == one)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, DevicesScreen))
        one.request("stop")
        held.pop("aaaa")
        await until(pilot, lambda: runner.active == behind)


@pytest.mark.usefixtures("two_cards")
async def test_a_card_that_another_process_trains_on_is_waited_for(
    root: Path, make_app: MakeApp, runner: Runner, held: dict[str, str]
) -> None:
    held["aaaa"] = "run zz (process 9)"
    app = make_app(runner=runner)
    said = listening(app)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        run = new_run(root, "cuda:0", "mine")
        app.start_runs(run)
        assert said == ["run zz (process 9) trains on cuda:0; it starts when that has ended."]
        assert (runner.active, run.record().status) == (None, "queued")
        held.clear()
        await until(pilot, lambda: runner.active == run)


@pytest.mark.usefixtures("two_cards")
async def test_the_form_says_who_is_on_each_device_and_a_study_takes_several(
    root: Path, make_app: MakeApp, runner: Runner
) -> None:
    app = make_app(runner=runner)
    async with app.run_test(size=(160, 45)) as pilot:
        app.start_runs(run := new_run(root, "cuda:0", "one"))
        await until(pilot, lambda: runner.active == run)
        app.open_form(kind="study")
        await until(pilot, lambda: on_screen(app, NewRunScreen).body.devices is not None)
        form = on_screen(app, NewRunScreen)
        assert form.body.devices is not None
        about = form.body.devices[1]
        assert f"run {run.id} trains on it, a new run waits" in about["cuda:0"]
        assert about["cuda:1"].endswith("nobody on it")
        assert about["auto"].startswith("cuda:1: ")
        field = form.body.query_one("#f-devices Input")
        field.focus()
        await pilot.press(*"cuda:0,cuda:0")
        await until(pilot, lambda: "devices" in form.problems())
        assert "names cuda:0 twice" in form.problems()["devices"]
        await pilot.press("backspace", "1")
        await until(pilot, lambda: not form.problems())
        assert form.state.config().devices == ("cuda:0", "cuda:1")  # type: ignore[union-attr]
        assert "--devices cuda:0,cuda:1" in form._command()
