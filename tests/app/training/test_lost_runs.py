"""Runs that were lost: which they are, and the offer to go on with them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, StudyConfig
from engine.runs import RunFolder, create, own, ownership
from engine.runs.data_identity import OtherDataError
from engine.runs.record import encode_record
from engine.study.grid import pretrain_config, variants
from moco_tui.app import MocoApp
from moco_tui.screens.dialogs import Confirm
from moco_tui.screens.lost_runs_dialog import LostRuns
from moco_tui.training.detached import lock
from moco_tui.training.lost_runs import FRESH_SECONDS
from moco_tui.training.runner import Runner

from ..conftest import StillRunner, lost_runs, screen_text, until


def new_run(root: Path, name: str) -> RunFolder:
    return create(root, "pretrain", resolve(PretrainConfig, preset_name="quick"), name=name)


def lose(root: Path, name: str, *, reached: int = 37, kept: int | None = 30) -> RunFolder:
    """A run whose process died."""
    run = new_run(root, name)
    with own(run) as owner:
        owner.transition("running")
        owner.metrics(reached, 1.0, {"train/loss": 9.0})
        if kept is not None:
            owner.checkpointed(kept)
    assert run.status() == "lost"
    return run


def age(run: RunFolder, seconds: float) -> None:
    record = run.record()
    record.created -= seconds
    run.record_path.write_bytes(encode_record(record))
    then = time.time() - seconds
    os.utime(run.record_path, (then, then))


def test_lost_runs_of_another_user_are_not_offered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = lose(root, "theirs"), lose(root, "mine")
    real = ownership.owner_of
    monkeypatch.setattr(
        "moco_tui.training.lost_runs.owner_of",
        lambda path: -1 if path == theirs.path else real(path),
    )
    assert [run.folder for run in lost_runs(root)] == [mine]


def test_a_lost_run_is_found_with_the_step_it_goes_on_from(root: Path) -> None:
    with_checkpoint, without = lose(root, "one"), lose(root, "two", kept=None)
    new_run(root, "just made, about to be started")
    (first, second) = lost_runs(root)
    assert (first.folder, first.reached, first.step) == (with_checkpoint, 37, 30)
    assert first.sentence() == "its process is gone after step 37; goes on from step 30"
    assert (second.folder, second.step) == (without, 0)
    assert "no checkpoint yet" in second.sentence()


def test_a_lost_study_is_offered_and_its_parts_go_on_with_it(root: Path) -> None:
    config = resolve(StudyConfig, preset_name="quick-study")
    study = create(root, "study", config)
    part = create(root, "pretrain", pretrain_config(config, variants(config)[0], 0))
    foreign = resolve(PretrainConfig, preset_name="quick", sets=("seed=77",))
    other = create(root, "pretrain", foreign, name="in no cell of the grid")
    for run in (study, part, other):
        with own(run) as owner:
            owner.transition("running")
    found = lost_runs(root)
    assert [run.folder for run in found] == [study, other]
    assert "what was finished of it is kept" in found[0].sentence()


def test_a_run_whose_queue_is_gone_is_found_and_one_that_waits_is_not(root: Path) -> None:
    orphan, waiting = new_run(root, "orphan"), new_run(root, "waiting")
    for run in (orphan, waiting):
        age(run, 60)
    held = lock(waiting)
    (found,) = lost_runs(root)
    held.release()
    assert (found.folder, found.queued) == (orphan, True)


def test_what_is_alive_ended_old_or_of_another_machine_is_not_offered(root: Path) -> None:
    ended, old, elsewhere = (lose(root, name) for name in ("ended", "old", "elsewhere"))
    with own(ended) as owner:
        owner.transition("stopped")
    age(old, FRESH_SECONDS + 60)
    record = elsewhere.record()
    record.host = "another-machine"
    elsewhere.record_path.write_bytes(encode_record(record))
    elsewhere.heartbeat_path.unlink()
    with own(lose(root, "alive")) as owner:
        owner.transition("running")
        assert lost_runs(root) == []


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert lost_runs(tmp_path / "missing") == []


MakeApp = Callable[..., MocoApp]


@pytest.mark.parametrize("key", ["r", "b", "escape"])
async def test_a_new_app_offers_them(
    root: Path, make_app: MakeApp, tmp_path: Path, key: str
) -> None:
    runs = [lose(root, "[bold]one"), lose(root, "two")]
    runner = StillRunner(tmp_path)
    app = make_app(runner=runner)
    app.offers_lost = True
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, LostRuns))
        text = " ".join(screen_text(app).replace("│", " ").split())
        assert "[bold]one: its process is gone after step 37; goes on from step 30." in text
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, LostRuns))
        await pilot.pause()
    assert runner.started == (runs if key == "r" else [])
    assert runner.detached == (runs if key == "b" else [])


async def test_nothing_is_asked_when_nothing_was_lost(root: Path, make_app: MakeApp) -> None:
    app = make_app()
    app.offers_lost = True
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: not app.offers_lost)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert not isinstance(app.screen, LostRuns)


@pytest.mark.parametrize(("key", "goes_on"), [("y", True), ("enter", True), ("escape", False)])
async def test_a_run_whose_images_have_changed_is_asked_about(
    root: Path, make_app: MakeApp, tmp_path: Path, key: str, goes_on: bool
) -> None:
    run = lose(root, "one")
    runner = StillRunner(tmp_path)
    app = make_app(runner=runner)
    sentence = (
        f"The data are not those that run {run.id} began with: the training images changed; put "
        "them back, or go on with what is there now: --allow-other-data."
    )
    async with app.run_test(size=(80, 24)) as pilot:
        runner.refused.append((run, sentence))
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        text = " ".join(screen_text(app).replace("│", " ").split())
        assert "the training images changed. Go on with what is there now?" in text
        assert "--allow" not in text
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        await pilot.pause()
    assert runner.started == runner.allowed == ([run] if goes_on else [])


def test_the_trainer_of_the_app_leaves_the_question_to_it(root: Path, tmp_path: Path) -> None:
    run, asked = lose(root, "one"), []

    def execute(folder: RunFolder, **options: object) -> str:
        asked.append(options["allow_other_data"])
        if not options["allow_other_data"]:
            raise OtherDataError("other images")
        return "finished"

    runner = Runner(tmp_path, execute=execute)
    runner.start(run)
    assert runner.join(60)
    assert list(runner.refused) == [(run, "other images")]
    assert not runner.messages
    runner.start(run, allow_other_data=True)
    assert runner.join(60)
    assert asked == [False, True]


@pytest.mark.parametrize("hours", [-87_660, -1, 1, 24])
def test_a_run_that_waits_for_nobody_is_offered_whatever_the_clock_says(
    root: Path, hours: int
) -> None:
    waiting, lost = new_run(root, "waiting"), lose(root, "lost")
    for run in (waiting, lost):
        age(run, 3600.0 * hours)
    assert {found.folder for found in lost_runs(root)} == {waiting, lost}
