"""Submitting: what is made, what is refused in one sentence, and that no folder is left then."""

from __future__ import annotations

import fcntl
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig, StudyConfig
from engine.config.slurm_schema import SlurmOptions
from engine.history.index import note_change
from engine.machine import slurm as programs
from engine.runs import RunFolder, by_id, create, folders, own
from engine.runs.submission import read_submission, write_submission

from ..stand_in_slurm import StandInSlurm, printed
from .conftest import Call, trained

TINY = ("--data", "shapes", "--preset", "quick", "--device", "cpu")
SUBMIT = (*TINY, "--submit", "slurm")


def only(root: Path) -> RunFolder:
    (folder,) = folders(root)
    return folder


def test_a_run_waits_in_its_folder_with_the_job_that_will_train_it(
    call: Call, root: Path, slurm: StandInSlurm
) -> None:
    said = call(
        "pretrain", *SUBMIT, "--name", "n", "--json", "--set", "slurm.partition=gpu",
        "--set", "slurm.time=1:00:00", "--set", "epochs=3", "--set", "slurm.cpus=2",
    )  # fmt: skip
    assert said.code == 0
    folder = only(root)
    record = folder.record()
    assert (record.status, record.name, record.started) == ("queued", "n", None)
    assert record.config["optim"]["epochs"] == 3
    assert "slurm" not in json.dumps(record.config)  # no part of what the run is
    submission = read_submission(folder)
    assert submission is not None
    assert (submission.job, submission.tasks) == ("17", 0)
    assert submission.options == SlurmOptions(partition="gpu", time="1:00:00", cpus=2)
    assert json.loads(said.out) == {
        "id": folder.id, "path": str(folder.path), "job": "17", "tasks": None,
    }  # fmt: skip
    last = slurm.script.strip().splitlines()[-1]
    assert shlex.split(last) == [
        "exec", sys.executable, "-P", "-m", "moco_tui", "_slurm_job",
        "--data-dir", str(root.parent / "data"), str(folder.path),
    ]  # fmt: skip
    assert f"--job-name=moco-tui-{folder.id}" in slurm.script


def test_submitting_imports_no_torch(call: Call, root: Path, slurm: StandInSlurm) -> None:
    code = (
        "import sys; from moco_tui.cli import main\n"
        f"try: main({['pretrain', *SUBMIT]!r})\n"
        "except SystemExit as left: assert not left.code, left.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def test_a_study_is_an_array_with_a_limit(call: Call, root: Path, slurm: StandInSlurm) -> None:
    said = call(
        "study", "--preset", "quick-study", "--submit", "slurm", "--device", "cpu",
        "--set", "seeds=0,1,2,3", "--set", "queue_sizes=64,128", "--set", "slurm.max_jobs=3",
    )  # fmt: skip
    assert said.code == 0, said.err
    submission = read_submission(only(root))
    assert submission is not None
    assert submission.tasks == 8
    assert "--array=0-7%3" in slurm.script
    assert "array of 8 jobs 17" in said.err


BAD = {
    "where": (("--submit", "pbs"), r"--submit is pbs; it must be slurm"),
    "detach": (("--submit", "slurm", "--detach"), r"--submit and --detach exclude each other"),
    "time": (
        ("--submit", "slurm", "--set", "slurm.time=soon"),
        r"slurm\.time is soon; it must be the time limit",
    ),
    "partition": (
        ("--submit", "slurm", "--set", "slurm.partition=nowhere"),
        r"slurm\.partition is nowhere; it must be one of main, gpu\.",
    ),
    "none": (("--set", "slurm.time=10"), r"slurm\.time=10 is of a Slurm job; it goes with"),
    "key": (("--submit", "slurm", "--set", "slurm.tim=1"), r"did you mean slurm\.time"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_submitted_is_one_sentence_and_no_folder(
    call: Call, root: Path, slurm: StandInSlurm, case: str
) -> None:
    words, sentence = BAD[case]
    said = call("pretrain", *TINY, *words)
    assert said.code == 2
    assert len(said.err.strip().splitlines()) == 1
    assert re.search(sentence, said.err), said.err
    assert folders(root) == []
    assert slurm.asked("sbatch") == []


def test_workers_of_a_study_are_slurms_to_start(
    call: Call, root: Path, slurm: StandInSlurm
) -> None:
    study = ("study", "--preset", "quick-study", "--submit", "slurm")
    said = call(*study, "--workers", "2")
    assert (said.code, folders(root)) == (2, [])
    assert "--submit and --workers exclude each other" in said.err
    said = call(*study, "--set", "workers=2")
    assert (said.code, folders(root)) == (2, [])
    assert "limit the jobs with --set slurm.max_jobs=N" in said.err
    said = call(*study, "--devices", "cpu:2")
    assert (said.code, folders(root)) == (2, [])
    assert "--submit and --devices exclude each other" in said.err
    said = call(*study, "--set", "devices=cpu,cpu")
    assert (said.code, folders(root)) == (2, [])
    assert "the device that Slurm gives it; leave it empty" in said.err


def test_without_sbatch_or_submitit_nothing_is_made(
    call: Call, root: Path, slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        said = call("pretrain", *SUBMIT)
        assert (said.code, folders(root)) == (2, [])
        assert "pip install 'moco-tui[slurm]'" in said.err
    monkeypatch.setattr(programs, "is_installed", lambda: False)
    said = call("pretrain", *SUBMIT)
    assert (said.code, folders(root)) == (2, [])
    assert "needs sbatch, which is not on PATH" in said.err


def test_a_folder_without_locks_is_named_at_submission(
    call: Call, root: Path, slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(fd: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refused)
    said = call("pretrain", *SUBMIT)
    assert said.code == 2
    assert "has no file locks (flock)" in said.err
    assert "process" in said.err
    assert "another process" not in said.err  # nobody is blamed
    assert slurm.asked("sbatch") == []


def test_what_slurm_refuses_is_said_in_its_words_and_taken_back(
    call: Call, root: Path, slurm: StandInSlurm
) -> None:
    slurm.refuses("sbatch", printed("sbatch-partition.err"))
    said = call("pretrain", *SUBMIT)
    assert said.code == 2
    assert "sbatch refused: invalid partition specified: nowhere" in said.err
    assert folders(root) == []


# ------------------------------------------------------------------------------------ later


@pytest.fixture
def submitted(call: Call, root: Path, slurm: StandInSlurm) -> RunFolder:
    assert call("pretrain", *SUBMIT, "--set", "slurm.time=30").code == 0
    return only(root)


def test_what_waits_says_why_in_runs_and_show(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    slurm.queue(f"17|N/A|PENDING|Resources||moco-tui-{submitted.id}")
    assert "(Slurm job 17 waits: Resources)" in call("runs").out
    (row,) = json.loads(call("runs", "--json").out)
    assert (row["state"], row["job"]) == ("queued", "Slurm job 17 waits: Resources")
    assert "Slurm job 17 waits: Resources; time 30" in call("show", submitted.id).out
    slurm.refuses("squeue", printed("squeue-unknown.err"))
    assert "Slurm job 17 has left the queue" in call("runs").out


def test_nothing_is_asked_where_no_run_is_slurms(
    call: Call, root: Path, slurm: StandInSlurm
) -> None:
    trained(root, status=None)  # lost
    trained(root, status="stopped")
    call("runs")
    call("show", "latest")
    assert slurm.calls == []


def test_stop_takes_what_waits_out_of_the_queue(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    said = call("stop", submitted.id)
    assert said.code == 0
    assert "job 17 is out of the queue of Slurm" in said.out
    assert slurm.asked("scancel") == [f"scancel --name=moco-tui-{submitted.id} 17"]
    assert submitted.record().status == "stopped"


def test_stop_asks_a_run_that_has_begun_as_any_other(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    with own(submitted) as owner:
        owner.transition("running")
        assert call("stop", "--no-wait", submitted.id).code == 0
        assert [asked.request for asked in submitted.pending_requests()] == ["stop"]
    assert slurm.asked("scancel") == []


def lose(folder: RunFolder) -> None:
    with own(folder, on_change=note_change) as owner:
        owner.transition("running")
    assert folder.status() == "lost"


def test_resume_submits_again_what_was_submitted(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    lose(submitted)
    slurm.refuses("squeue", printed("squeue-unknown.err"))
    slurm.says("sbatch", "18\n")
    said = call("resume", submitted.id, "--set", "slurm.cpus=4")
    assert said.code == 0, said.err
    submission = read_submission(submitted)
    assert submission is not None
    assert (submission.job, submission.options) == ("18", SlurmOptions(time="30", cpus=4))
    assert submitted.record().status == "queued"


def test_a_study_that_was_begun_here_is_an_array_when_slurm_goes_on_with_it(
    call: Call, root: Path, slurm: StandInSlurm
) -> None:
    config = resolve(StudyConfig, preset_name="quick-study")
    folder = create(root, "study", config)
    lose(folder)
    assert call("resume", folder.id, "--submit", "slurm", "--set", "slurm.max_jobs=2").code == 0
    units = len(config.queue_sizes) * len(config.seeds)
    assert f"--array=0-{units - 1}%2" in slurm.script
    submission = read_submission(folder)
    assert submission is not None
    assert submission.tasks == units


@pytest.mark.parametrize("words", [(), ("--here",), ("--detach",)])
def test_resume_leaves_a_run_alone_whose_job_is_in_the_queue(
    call: Call, submitted: RunFolder, slurm: StandInSlurm, words: tuple[str, ...]
) -> None:
    lose(submitted)
    slurm.queue(f"17|N/A|PENDING|BeginTime||moco-tui-{submitted.id}")
    said = call("resume", submitted.id, *words)
    assert said.code == 2
    assert "has job 17 in the queue of Slurm: PENDING (BeginTime)" in said.err
    assert len(slurm.asked("sbatch")) == 1
    assert submitted.status() == "lost"


def test_a_job_of_another_name_is_none_of_the_run(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    """Numbers are given out anew: after a new start of the cluster 17 may be somebody else's."""
    lose(submitted)
    slurm.queue("17|N/A|RUNNING|None|node1|theirs")
    slurm.says("sbatch", "18\n")
    assert call("resume", submitted.id).code == 0
    assert "has left the queue" in call("runs").out


def test_a_run_that_slurm_refuses_again_is_stopped_with_its_words(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    lose(submitted)
    slurm.refuses("squeue", printed("squeue-unknown.err"))
    slurm.refuses("sbatch", "sbatch: error: Batch job submission failed: Invalid account\n")
    said = call("resume", submitted.id)
    assert said.code == 2
    assert "Invalid account" in said.err
    assert submitted.record().status == "stopped"
    assert "Invalid account" in submitted.record().error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--here", "--submit", "slurm"), "--submit and --here exclude each other"),
        (("--set", "epochs=3"), "a run goes on with the settings that it has"),
        (("--allow-other-data",), "give --here too"),
        (("--submit", "slurm", "--detach"), "--submit and --detach exclude each other"),
    ],
)
def test_resume_says_what_does_not_go_together(
    call: Call, submitted: RunFolder, slurm: StandInSlurm, words: tuple[str, ...], sentence: str
) -> None:
    lose(submitted)
    said = call("resume", submitted.id, *words)
    assert (said.code, submitted.status()) == (2, "lost")
    assert sentence in said.err


def test_a_run_of_this_machine_can_be_given_to_slurm(
    call: Call, root: Path, slurm: StandInSlurm
) -> None:
    folder = trained(root, status="stopped")
    assert call("resume", folder.id, "--submit", "slurm", "--set", "slurm.time=5").code == 0
    submission = read_submission(by_id(root, folder.id))
    assert submission is not None
    assert submission.options == SlurmOptions(time="5")
    assert folder.record().status == "queued"


def test_settings_of_the_job_are_listed_with_the_others(call: Call) -> None:
    rows = {row["key"]: row for row in json.loads(call("presets", "--settings", "--json").out)}
    assert rows["slurm.time"]["kind"] == "slurm"
    assert {key for key in rows if key.startswith("slurm.")} == {
        f"slurm.{name}" for name in SlurmOptions.__struct_fields__
    }
    assert not any("slurm" in key for key in PretrainConfig.__struct_fields__)


def test_a_damaged_note_of_the_job_is_one_sentence(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    lose(submitted)
    submission = read_submission(submitted)
    assert submission is not None
    (submitted.path / "slurm.json").write_text("{")
    said = call("resume", submitted.id)
    assert said.code == 2
    assert "slurm.json is damaged" in said.err
    write_submission(submitted, submission)
    assert call("show", submitted.id).code == 0


def test_a_run_that_waits_in_slurm_is_not_deleted(
    call: Call, submitted: RunFolder, slurm: StandInSlurm
) -> None:
    said = call("delete", submitted.id)
    assert (said.code, submitted.path.exists()) == (2, True)
    assert "waits in Slurm as job 17; stop it before deleting it" in said.err
    call("stop", submitted.id)
    assert call("delete", submitted.id).code == 0
