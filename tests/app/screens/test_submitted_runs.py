"""Runs of Slurm in the app: why they wait, stopping them, and submitting them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, create, own
from engine.runs.submission import Submission, job_name, read_submission, write_submission
from moco_tui.app import MocoApp
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.user.user_file import UserFile
from moco_tui.user.user_schema import UserConfig
from moco_tui.widgets.run_table import RunTable

from ...stand_in_slurm import StandInSlurm, printed
from ..conftest import lost_runs, on_screen, screen_text, still_runner, until

MakeApp = Callable[..., MocoApp]
NOT_ASKED = UserFile(Path(), UserConfig(ask_before_stop=False))


@pytest.fixture
def waiting(root: Path, slurm: StandInSlurm) -> RunFolder:
    folder = create(root, "pretrain", resolve(PretrainConfig), name="mine")
    write_submission(folder, Submission(job="17", submitted=1.7e9))
    slurm.queue(f"17|N/A|PENDING|Resources||{job_name(folder)}")
    return folder


def said(app: MocoApp, text: str) -> bool:
    return any(text in note.message for note in app._notifications)


def lose(folder: RunFolder) -> None:
    with own(folder) as owner:
        owner.transition("running")


@pytest.mark.parametrize("size", [(80, 24), (160, 45)])
async def test_list_and_monitor_say_why_a_run_waits(
    waiting: RunFolder, make_app: MakeApp, slurm: StandInSlurm, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Slurm job 17 waits: Resources" in screen_text(app))
        app.open_run(waiting.id)
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await until(pilot, lambda: "Slurm job 17 waits: Resources" in screen_text(app))
    assert len(slurm.asked("squeue")) == 1  # whatever was polled meanwhile


@pytest.mark.parametrize("where", ["runs", "monitor"])
async def test_stop_takes_it_out_of_the_queue(
    waiting: RunFolder, make_app: MakeApp, slurm: StandInSlurm, where: str
) -> None:
    app = make_app(user=NOT_ASKED)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.query_one(RunTable).rows)
        if where == "monitor":
            app.open_run(waiting.id)
            await until(pilot, lambda: on_screen(app, MonitorScreen).status == "queued")
        await pilot.press("s")
        await until(pilot, lambda: said(app, "job 17 is out of the queue of Slurm"))
    assert waiting.record().status == "stopped"
    assert slurm.asked("scancel") == [f"scancel --name={job_name(waiting)} 17"]


async def test_a_lost_run_is_submitted_again_and_not_trained_here(
    waiting: RunFolder, make_app: MakeApp, slurm: StandInSlurm
) -> None:
    lose(waiting)
    assert lost_runs(waiting.path.parent) == []  # the app offers none of Slurm's to be resumed here
    slurm.refuses("squeue", printed("squeue-unknown.err"))
    slurm.says("sbatch", "18\n")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.query_one(RunTable).rows)
        await pilot.press("r")
        await until(pilot, lambda: said(app, "submitted to Slurm again, as job 18"))
        assert still_runner(app).started == []
    submission = read_submission(waiting)
    assert submission is not None
    assert submission.job == "18"
    assert waiting.record().status == "queued"


async def test_one_whose_job_is_in_the_queue_is_not_submitted_twice(
    waiting: RunFolder, make_app: MakeApp, slurm: StandInSlurm
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.query_one(RunTable).rows)
        await pilot.press("r")
        await until(pilot, lambda: said(app, "has job 17 in the queue of Slurm"))
        await pilot.press("d")
        await until(pilot, lambda: said(app, "waits in Slurm; stop it before you delete it"))
        assert still_runner(app).started == []
    assert slurm.asked("sbatch") == []


async def test_keys_are_answered_while_slurm_gives_no_answer(
    waiting: RunFolder, make_app: MakeApp, slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moco_tui.present.slurm_jobs.ANSWER_SECONDS", 60.0)
    answers = slurm.folder / "answers"
    waits = f"#!/bin/sh\nwhile [ ! -e '{answers}' ]; do sleep 0.05; done\n"
    (slurm.folder / "squeue").write_text(waits)
    app = make_app()
    jobs = app.session.runs.jobs
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, jobs._looking.locked)
            app.open_run(waiting.id)
            await until(pilot, lambda: on_screen(app, MonitorScreen).status == "queued")
            assert jobs._looking.locked()
        assert jobs._looking.locked()  # leaving has not waited for it either
    finally:
        answers.touch()
