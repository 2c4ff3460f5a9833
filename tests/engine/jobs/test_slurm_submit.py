"""What submitting leaves in the folder, and how a run is taken out of the queue."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.config.slurm_schema import SlurmOptions
from engine.errors import RunBusyError, RunError
from engine.jobs.slurm_submit import (
    check_out_of_queue,
    jobs_in_queue,
    make_queued,
    submit_run,
    withdraw,
)
from engine.runs import RunFolder, create, own
from engine.runs.submission import OUTPUT_NAME, read_submission

from ...stand_in_slurm import StandInSlurm


def submitted(root: Path, *, tasks: int = 0) -> RunFolder:
    folder = create(root, "pretrain", PretrainConfig())
    submit_run(folder, SlurmOptions(), ["true"], os.environ, tasks=tasks)
    return folder


def test_no_link_leads_slurm_out_of_the_folder(tmp_path: Path, slurm: StandInSlurm) -> None:
    folder = create(tmp_path, "pretrain", PretrainConfig())
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (folder.path / OUTPUT_NAME).symlink_to(precious)
    with pytest.raises(RunError, match=OUTPUT_NAME):
        submit_run(folder, SlurmOptions(), ["true"], os.environ)
    assert slurm.asked("sbatch") == []
    assert precious.read_text() == "kept"


def test_a_job_that_cannot_be_noted_is_cancelled(tmp_path: Path, slurm: StandInSlurm) -> None:
    """Nobody would know of it, and it would train a run that looks as if nobody did."""
    folder = create(tmp_path, "pretrain", PretrainConfig())
    (folder.path / "slurm.json").mkdir()
    with pytest.raises(RunError, match=r"slurm\.json"):
        submit_run(folder, SlurmOptions(), ["true"], os.environ)
    assert slurm.asked("scancel") == [f"scancel --name=moco-tui-{folder.id} 17"]


def test_only_the_job_of_its_name_is_that_of_a_run(tmp_path: Path, slurm: StandInSlurm) -> None:
    folder = submitted(tmp_path)
    slurm.queue("17|N/A|RUNNING|None|node1|theirs")
    assert jobs_in_queue(folder) == []
    check_out_of_queue(folder)
    slurm.queue(f"17|N/A|PENDING|QOSMaxJobsPerUserLimit||moco-tui-{folder.id}")
    with pytest.raises(RunBusyError, match=r"job 17 .*: PENDING \(QOSMaxJobsPerUserLimit\)"):
        check_out_of_queue(folder)


@pytest.mark.parametrize("status", ["running", "paused", "handed-over", "failed", "stopped"])
def test_whatever_was_left_unfinished_can_wait_again(
    tmp_path: Path, slurm: StandInSlurm, status: str
) -> None:
    folder = submitted(tmp_path)
    with own(folder) as owner:
        owner.transition("running")
        if status != "running":
            owner.transition(status)  # type: ignore[arg-type]
    make_queued(folder, "waits")
    assert folder.record().status == "queued"
    assert "waits" in folder.log_tail(1)[0]


def test_a_run_that_somebody_trains_is_left_to_them(tmp_path: Path, slurm: StandInSlurm) -> None:
    folder = submitted(tmp_path)
    with own(folder) as owner:
        owner.transition("running")
        with pytest.raises(RunBusyError):
            make_queued(folder, "waits")
        assert withdraw(folder) == ""  # it is asked as any other
    assert slurm.asked("scancel") == []


def test_of_a_study_that_runs_the_tasks_that_wait_are_cancelled(
    tmp_path: Path, slurm: StandInSlurm
) -> None:
    """Else they would take it up again."""
    folder = submitted(tmp_path, tasks=8)
    with own(folder) as owner:
        owner.transition("running")
        assert withdraw(folder) == ""
    assert slurm.asked("scancel") == [f"scancel --name=moco-tui-{folder.id} --state=PENDING 17"]


def test_a_job_that_has_begun_a_moment_ago_stops_by_itself(
    tmp_path: Path, slurm: StandInSlurm
) -> None:
    folder = submitted(tmp_path)
    with own(folder):  # it has the run, and has not recorded that it runs
        assert "out of the queue" in withdraw(folder)
        assert folder.record().status == "queued"
    submission = read_submission(folder)
    assert submission is not None
    assert slurm.asked("scancel") == [f"scancel --name=moco-tui-{folder.id} 17"]
