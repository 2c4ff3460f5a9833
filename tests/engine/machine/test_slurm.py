"""What the programs of Slurm print, as code understands it; the words are those of real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.machine import slurm as asked
from engine.machine.slurm import QueueLine

from ...stand_in_slurm import StandInSlurm, printed


def test_a_job_that_waits_and_one_that_runs(slurm: StandInSlurm) -> None:
    slurm.says("squeue", printed("squeue-jobs"))
    lines = asked.queue_lines(["1", "3"])
    assert lines == {
        "1": [QueueLine("1", 1, "RUNNING", "None", "node1", "moco-tui-aaaaaa")],
        "3": [QueueLine("3", 1, "PENDING", "Resources", "", "moco-tui-bbbbbb")],
    }
    assert slurm.asked("squeue") == [f"squeue --noheader -o {'%F|%K|%T|%r|%N|%j'} -j 1,3"]


def test_the_tasks_of_an_array_are_counted(slurm: StandInSlurm) -> None:
    slurm.says("squeue", printed("squeue-array"))
    lines = asked.queue_lines(["4"])["4"]
    assert sum(line.tasks for line in lines if line.state == "PENDING") == 6
    assert sum(line.tasks for line in lines if line.state == "RUNNING") == 2
    assert {line.reason for line in lines if line.state == "PENDING"} == {"JobArrayTaskLimit"}


@pytest.mark.parametrize(
    ("tasks", "count"),
    [("0", 1), ("2-7%2", 6), ("1,4-6", 4), ("N/A", 1), ("", 1), ("0-9999999", 100_000)],
)
def test_ranges_of_tasks(slurm: StandInSlurm, tasks: str, count: int) -> None:
    slurm.queue(f"5|{tasks}|PENDING|Priority||n")
    assert asked.queue_lines(["5"])["5"][0].tasks == count


def test_a_job_that_has_left_the_queue_is_missing(slurm: StandInSlurm) -> None:
    slurm.refuses("squeue", printed("squeue-unknown.err"))
    assert asked.queue_lines(["4711"]) == {}


def test_nothing_is_asked_for_no_job(slurm: StandInSlurm) -> None:
    assert asked.queue_lines([]) == {}
    assert slurm.calls == []


def test_lines_that_nobody_asked_for_and_odd_ones_are_left_out(slurm: StandInSlurm) -> None:
    slurm.queue("9|N/A|RUNNING|None|n|x", "garbage", "|||||", "2|N/A|RUN\x1b[31mNING|None|n|a|b")
    assert asked.queue_lines(["2"]) == {"2": [QueueLine("2", 1, "RUN[31mNING", "None", "n", "a|b")]}


def test_variables_that_change_what_squeue_prints_do_not_reach_it(
    slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "COMPLETED")
    program = slurm.folder / "squeue"
    program.write_text('#!/bin/sh\necho "2|N/A|RUNNING|${SQUEUE_STATES-none}||n"\n')
    assert asked.queue_lines(["2"])["2"][0].reason == "none"


def test_partitions(slurm: StandInSlurm) -> None:
    slurm.says("sinfo", printed("sinfo"))
    assert asked.partitions() == ["main", "urgent"]


def test_a_refusal_is_slurms_words_in_one_line(slurm: StandInSlurm) -> None:
    slurm.refuses("sbatch", printed("sbatch-partition.err"))
    with pytest.raises(RunError) as refused:
        asked.submit("#!/bin/sh\n", os.environ)
    assert str(refused.value) == (
        "sbatch refused: invalid partition specified: nowhere; "
        "Batch job submission failed: Invalid partition name specified."
    )


def test_the_number_of_a_submitted_job(slurm: StandInSlurm) -> None:
    assert asked.submit("#!/bin/sh\ntrue\n", os.environ) == "17"
    assert slurm.script == "#!/bin/sh\ntrue\n"
    slurm.says("sbatch", "18;cluster\n")
    assert asked.submit("", os.environ) == "18"
    slurm.says("sbatch", "Submitted\n")
    with pytest.raises(RunError, match="no number of a job, but: Submitted"):
        asked.submit("", os.environ)


def test_only_a_job_of_that_name_is_cancelled(slurm: StandInSlurm) -> None:
    asked.cancel("17", "moco-tui-k7xw2m")
    asked.cancel("17", "moco-tui-k7xw2m", waiting_only=True)
    assert slurm.asked("scancel") == [
        "scancel --name=moco-tui-k7xw2m 17",
        "scancel --name=moco-tui-k7xw2m --state=PENDING 17",
    ]
    slurm.refuses(
        "scancel", "scancel: error: Kill job error on job id 17: Invalid job id specified\n"
    )
    asked.cancel("17", "moco-tui-k7xw2m")  # it has left the queue
    slurm.refuses(
        "scancel", "scancel: error: Kill job error on job id 17: Access/permission denied\n"
    )
    with pytest.raises(RunError, match="Access/permission denied"):
        asked.cancel("17", "moco-tui-k7xw2m")


@pytest.mark.parametrize(
    ("shown", "fate"),
    [
        ("scontrol-cancelled", "cancelled"),
        ("scontrol-running", "runs"),
        ("scontrol-timeout", "runs"),
        ("scontrol-preempted", "queued"),
    ],
)
def test_what_was_cancelled_is_told_from_what_ends_otherwise(
    slurm: StandInSlurm, shown: str, fate: str
) -> None:
    slurm.says("scontrol", printed(shown))
    assert asked.fate_of("17") == fate


@pytest.mark.parametrize(
    ("shown", "fate"),
    [
        ("JobState=CANCELLED Reason=None Restarts=0", "cancelled"),  # as other versions write it
        ("JobState=CANCELLED,COMPLETING Reason=None Restarts=0", "cancelled"),
        ("JobState=COMPLETING Reason=None Restarts=0 PreemptTime=2026-01-31T10:00:00", "runs"),
        ("JobState=PREEMPTED Reason=None Restarts=0", "runs"),
        ("JobState=TIMEOUT,COMPLETING Reason=TimeLimit Restarts=0", "runs"),
        ("JobState=PENDING Reason=BeginTime Restarts=1", "queued"),
    ],
)
def test_states_of_other_versions_and_ways_of_preemption(
    slurm: StandInSlurm, shown: str, fate: str
) -> None:
    slurm.says("scontrol", f"JobId=17 {shown}\n")
    assert asked.fate_of("17") == fate


def test_an_earlier_restart_is_not_taken_for_a_new_one(
    slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    slurm.says("scontrol", "JobId=17 JobState=COMPLETING Reason=None Restarts=1\n")
    assert asked.fate_of("17") == "cancelled"


def test_the_job_of_a_process_is_named_by_its_task() -> None:
    array = {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}
    assert asked.own_job(array) == "17_3"
    assert asked.own_job({"SLURM_JOB_ID": "17"}) == "17"
    assert asked.own_job({}) == ""
    assert asked.own_job({"SLURM_JOB_ID": "17; id"}) == ""
    assert asked.restarts({"SLURM_RESTART_COUNT": "2"}) == 2
    assert asked.restarts({}) == 0


def test_programs_that_are_missing_fail_or_never_answer_are_one_sentence(
    slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (slurm.folder / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(RunError, match=r"squeue gave no answer within 0\.2 s"):
        asked.queue_lines(["2"], seconds=0.2)
    slurm.refuses("scontrol", "")
    with pytest.raises(RunError, match="scontrol refused: it gave no reason"):
        asked.requeue("17")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not asked.is_installed()
    with pytest.raises(RunError, match="squeue is not on PATH"):
        asked.queue_lines(["2"])
