"""What is said of jobs, and that Slurm is asked rarely and only for runs that were submitted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.config.slurm_schema import SlurmOptions
from engine.machine.slurm import QueueLine
from engine.runs import RunFolder, create, own
from engine.runs.submission import Submission, job_name, write_submission
from moco_tui.present import slurm_jobs
from moco_tui.present.run_list import RunList
from moco_tui.present.slurm_jobs import ASK_SECONDS, job_words, submission_words
from tests.hand_clock import Clock

from ...stand_in_slurm import StandInSlurm

JOB = Submission(job="17", submitted=1.7e9, options=SlurmOptions(time="30", gpus="a100:1"))
ARRAY = Submission(job="17", tasks=8, submitted=1.7e9)


def line(state: str, reason: str = "None", *, tasks: int = 1, nodes: str = "") -> QueueLine:
    return QueueLine("17", tasks, state, reason, nodes, "n")


@pytest.mark.parametrize(
    ("submission", "lines", "words"),
    [
        (JOB, [line("PENDING", "Resources")], "Slurm job 17 waits: Resources"),
        (JOB, [line("RUNNING", nodes="n[1-2]")], "Slurm job 17 is running on n[1-2]"),
        (JOB, [], "Slurm job 17 has left the queue"),
        (ARRAY, [], "Slurm jobs 17 have left the queue"),
        (
            ARRAY,
            [line("RUNNING"), line("RUNNING"), line("PENDING", "JobArrayTaskLimit", tasks=6)],
            "Slurm jobs 17: 2 run, 6 wait (JobArrayTaskLimit)",
        ),
    ],
)
def test_a_job_in_words(submission: Submission, lines: list[QueueLine], words: str) -> None:
    assert job_words(submission, lines) == words


def test_what_slurm_says_is_shown_clean() -> None:
    odd = [line("PENDING", "no\x1b[31m room")]
    assert job_words(JOB, odd) == "Slurm job 17 waits: no?[31m room"


def submitted(root: Path, submission: Submission = JOB) -> RunFolder:
    folder = create(root, "pretrain", PretrainConfig())
    write_submission(folder, submission)
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(slurm_jobs, "_monotonic", made)
    return made


def jobs_told(runs: RunList) -> dict[str, str]:
    runs.jobs.look(slurm_jobs.may_wait(runs.rows.values()))
    runs.refresh(full_every=0.0)
    return {id_: row.job for id_, row in runs.rows.items()}


def test_slurm_is_asked_once_for_all_runs_and_again_after_a_while(
    tmp_path: Path, slurm: StandInSlurm, clock: Clock
) -> None:
    one, other = submitted(tmp_path), submitted(tmp_path)
    create(tmp_path, "pretrain", PretrainConfig())  # of this machine
    slurm.queue(f"17|N/A|PENDING|Priority||{job_name(one)}")
    runs = RunList(tmp_path)
    runs.refresh()
    for _ in range(5):
        clock.now += ASK_SECONDS / 6
        told = jobs_told(runs)
    assert told[one.id] == "Slurm job 17 waits: Priority"
    assert told[other.id] == "Slurm job 17 has left the queue"  # that of the other name
    assert list(told.values()).count("") == 1
    assert len(slurm.asked("squeue")) == 1
    clock.now += ASK_SECONDS
    slurm.queue(f"17|N/A|PENDING|Resources||{job_name(one)}")
    assert jobs_told(runs)[one.id] == "Slurm job 17 waits: Resources"
    assert len(slurm.asked("squeue")) == 2


def test_nothing_is_asked_for_runs_that_have_ended_or_are_of_this_machine(
    tmp_path: Path, slurm: StandInSlurm
) -> None:
    folder = submitted(tmp_path)
    with own(folder) as owner:
        owner.transition("running")
        owner.transition("finished")
    create(tmp_path, "pretrain", PretrainConfig())
    runs = RunList(tmp_path)
    runs.refresh()
    assert set(jobs_told(runs).values()) == {""}
    assert "was job 17; time 30; gpus a100:1" in submission_words(folder, "finished")
    assert slurm.calls == []


def test_what_was_said_of_a_job_goes_with_its_run(
    tmp_path: Path, slurm: StandInSlurm, clock: Clock
) -> None:
    folder = submitted(tmp_path)
    slurm.queue(f"17|N/A|PENDING|Priority||{job_name(folder)}")
    runs = RunList(tmp_path)
    runs.refresh()
    assert jobs_told(runs)[folder.id]
    with own(folder) as owner:
        owner.transition("stopped")
    assert jobs_told(runs)[folder.id] == ""


def test_a_list_does_not_wait_for_slurm(
    tmp_path: Path, slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that lists returns while squeue has not answered, and nobody asks meanwhile."""
    monkeypatch.setattr(slurm_jobs, "ANSWER_SECONDS", 0.5)
    folder = submitted(tmp_path)
    (slurm.folder / "squeue").write_text(
        f"#!/bin/sh\necho squeue >> {slurm.folder}/calls\nexec sleep 30\n"
    )
    runs = RunList(tmp_path)
    runs.refresh()
    runs.ask_for_jobs()
    runs.ask_for_jobs()
    assert runs.jobs.words(folder.id) == ""
    deadline = time.monotonic() + 30
    while not runs.jobs.words(folder.id) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert runs.jobs.words(folder.id) == "Slurm job 17: Slurm gives no answer here"
    assert len(slurm.asked("squeue")) == 1
