"""The end of a run shows in the app, on its terminal, and in no second process outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moco_tui import app_life
from moco_tui.app import MocoApp
from moco_tui.notify.run_note import sample_note
from moco_tui.screens import run_notices
from moco_tui.screens.run_notices import RunNotices
from moco_tui.training.runner import Runner
from moco_tui.user.user_file import read_user_file

from ...pseudo_terminal import Terminal, app_command, environment
from ...receiver import Receiver
from ..conftest import FakeTrainer, some_runs, until, write_run
from ..notify.test_looker import end, running
from ..notify.test_lost_notes import lost

MakeApp = Callable[..., MocoApp]


def said(app: MocoApp) -> list[tuple[str, str]]:
    return [(note.severity, note.message) for note in app._notifications]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moco_tui.app.START_SECONDS", 0.01)
    monkeypatch.setattr(run_notices, "LOOK_SECONDS", 0.05)
    # The tests own the runs that another process would train.
    monkeypatch.setattr(run_notices, "is_of_this_process", lambda folder: False)


async def test_the_end_of_a_run_of_another_process_is_said(
    make_app: MakeApp, root: Path, config: Path
) -> None:
    """Outside, its trainer tells of it, and the app does not."""
    receiver = Receiver(config.parent / "receiver")
    config.write_text(receiver.configured())
    run = running(root, "aaaaaa", name="mine", steps=20)
    app = make_app(user=read_user_file(config))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.session.runs.rows["aaaaaa"].status == "running")
        app.open_form()  # the list is hidden now
        await pilot.pause(0.3)
        end(run, "finished")
        await until(pilot, lambda: said(app))
    assert [severity for severity, _ in said(app)] == ["information"]
    assert said(app)[0][1].startswith("Pretraining mine (aaaaaa) is finished, ")
    assert receiver.notes() == []


async def test_what_the_person_does_not_want_is_not_shown(
    make_app: MakeApp, root: Path, config: Path
) -> None:
    config.write_text('[notify]\non = ["failed"]\n')
    runs = [running(root, run_id) for run_id in ("aaaaaa", "bbbbbb")]
    app = make_app(user=read_user_file(config))
    async with app.run_test() as pilot:
        await until(pilot, lambda: len(app.session.runs.rows) == 2)
        await pilot.pause(0.3)
        end(runs[0], "finished")
        end(runs[1], "failed", "Why.")
        await until(pilot, lambda: said(app))
        await pilot.pause(0.3)
    assert said(app) == [("error", "Pretraining bbbbbb failed: Why.")]


async def test_a_lost_run_is_told_outside_by_the_app_once(
    make_app: MakeApp, root: Path, config: Path
) -> None:
    receiver = Receiver(config.parent / "receiver")
    config.write_text(receiver.configured())
    lost(root, "aaaaaa", steps=3)
    for read_only, calls in ((True, 0), (False, 1), (False, 1)):
        app = make_app(user=read_user_file(config), read_only=read_only)
        async with app.run_test() as pilot:
            await until(pilot, lambda app=app: app.session.runs.rows)  # type: ignore[misc]
            await until(pilot, lambda calls=calls: len(receiver.notes()) == calls)  # type: ignore[misc]
            await pilot.pause(0.3)
        assert receiver.states() == ["lost"] * calls


async def test_a_run_of_this_app_is_told_outside_once(
    make_app: MakeApp, root: Path, config: Path, tmp_path: Path
) -> None:
    receiver = Receiver(config.parent / "receiver")
    config.write_text(receiver.configured())
    run = write_run(root, "aaaaaa", status="stopped", name="mine")
    trainer = FakeTrainer()
    runner = Runner(tmp_path / "data", execute=trainer)
    runner.notified = app_life._notifying
    app = make_app(user=read_user_file(config), runner=runner)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.session.runs.rows)
        app.start_runs(run)
        await until(pilot, lambda: app.session.runs.rows["aaaaaa"].status == "running")
        trainer.steps = 0
        await until(pilot, lambda: any("is finished" in text for _, text in said(app)))
        await until(pilot, receiver.notes)
        await pilot.pause(0.3)
    assert receiver.states() == ["finished"]
    assert sum("is finished" in text for _, text in said(app)) == 1


async def test_texts_of_others_are_no_markup(make_app: MakeApp) -> None:
    import msgspec

    app = make_app()
    async with app.run_test() as pilot:
        notices = RunNotices(app, app.session, app.say)
        notices._show(
            msgspec.structs.replace(sample_note(), message="[red]x[/red] \x1b[2J"), rings=True
        )
        await pilot.pause()
        (note,) = app._notifications
        assert note.markup is False
        assert note.message == "[red]x[/red] ?[2J"


@pytest.fixture
def terminal(root: Path, tmp_path: Path, config: Path) -> Iterator[Terminal]:
    config.write_text('[notify]\nterminal = "osc777"\ntoast = false\n')
    some_runs(root)
    bare = dict.fromkeys(("TMUX", "STY"), "")
    started = Terminal(app_command(root, tmp_path / "data"), environment(**bare), (100, 30))
    yield started
    started.close()


def test_the_terminal_of_the_app_notifies(
    terminal: Terminal, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sequence of its own between the frames, whose text is clean."""
    received: list[bytes] = []
    feed = terminal.stream.feed

    def keep(data: bytes) -> None:
        received.append(data)
        feed(data)

    monkeypatch.setattr(terminal.stream, "feed", keep)
    run = running(root, "aaaaaa", name="x\x1b[2J;y")
    terminal.until(lambda text: "running" in text)
    terminal.spend(6.0)  # the app has looked at the runs by then
    end(run, "finished")
    wanted = b"\x1b]777;notify;moco-tui: finished;Pretraining x"
    terminal.until(lambda text: wanted in b"".join(received))
    sequence = b"".join(received).partition(wanted)[2].partition(b"\x07")[0]
    assert sequence.decode().isprintable()
    assert "is finished" not in terminal.text, "no toast was wanted"
    terminal.keys("q")
    assert terminal.wait() == 0
