"""Runs and studies on a real Slurm; ``start.sh`` beside this file starts one on this machine.

Every wait is for what a command or Slurm says, and ends in a failure after two minutes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, folders
from engine.runs.submission import job_name, read_submission
from tests.survival.run_files import curves, steps_in_file
from tests.survival.tiny_runs import digest, draw_images, words

ROOT = Path(__file__).parents[2]


def is_for_tests() -> bool:
    """Whether the Slurm at hand is that of ``start.sh``: nobody's cluster gets jobs of tests."""
    try:
        conf = Path(os.environ.get("SLURM_CONF", "")).read_text()
    except OSError:
        return False
    return "PartitionName=urgent" in conf and shutil.which("sbatch") is not None


pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not is_for_tests(), reason="no Slurm for tests; tests/slurm/start.sh"),
]

LONG = {"optim__epochs": 60, "monitor__knn_every": 30}
"""360 steps: long enough for a signal to come in between."""


def ask(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def until(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def occupy(command: str) -> str:
    """Has a job of more urgency take all nodes; its number."""
    nodes = ask("sinfo", "-h", "-o", "%D", "-p", "urgent")
    where = ("-p", "urgent", f"-N{nodes}", "--exclusive", "-o", "/dev/null")
    return ask("sbatch", "--parsable", *where, "--wrap", command)


class Cluster:
    """Commands on a runs folder of a test, and the jobs that they make."""

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.data = root, data

    def moco(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "moco_tui", "--runs-dir", str(self.root),
             "--data-dir", str(self.data), *arguments],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done

    def submitted(self, images: Path, *more: str, **changes: object) -> RunFolder:
        done = self.moco(
            "pretrain", "--submit", "slurm", "--json", *words(images, **changes), *more
        )
        return RunFolder(self.root / json.loads(done.stdout)["id"])

    @staticmethod
    def job(run: RunFolder) -> str:
        submission = read_submission(run)
        assert submission is not None
        return submission.job

    def states(self, run: RunFolder) -> list[str]:
        lines = ask("squeue", "-h", "-o", "%j %T").splitlines()
        return [line.split()[1] for line in lines if line.split()[0] == job_name(run)]

    def reaches(self, run: RunFolder, status: str) -> RunFolder:
        until(lambda: run.status() == status)
        return run

    def passes(self, run: RunFolder, step: int) -> None:
        until(lambda: run.status() == "running" and run.record().step > step)

    def waits(self, run: RunFolder) -> None:
        until(lambda: self.states(run) == ["PENDING"] and run.status() == "queued")

    def queued_again(self, run: RunFolder) -> None:
        """Waits for that, and has Slurm start it without the two minutes that it waits else."""
        self.waits(run)
        # Slurm refuses to start a job in the second in which it revoked the credential of its
        # former part, which is why it waits by itself.
        time.sleep(2.0)
        ask("scontrol", "update", f"JobId={self.job(run)}", "StartTime=now")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    # What a shell, a script or Slurm could take for something else.
    made = Cluster(tmp_path / "runs of 100 %j's", tmp_path / "data")
    yield made
    for run in folders(made.root):
        subprocess.run(["scancel", f"--name={job_name(run)}"], capture_output=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    draw_images(root, random.Random(1))
    return root


def end_of(run: RunFolder) -> tuple[Any, ...]:
    return digest(checkpoints.load(run.checkpoint_path)), curves(run), steps_in_file(run)


def test_a_run_preempted_three_times_ends_in_the_same_bits(
    cluster: Cluster, images: Path, tmp_path: Path
) -> None:
    here = Cluster(tmp_path / "here", tmp_path / "data")
    here.moco("pretrain", *words(images, **LONG))
    (undisturbed,) = folders(here.root)
    run = cluster.submitted(images, "--set", "slurm.cpus=1", **LONG)
    job = cluster.job(run)
    cluster.passes(run, 20)
    ask("scancel", "--batch", "--signal=USR1", job)  # as before a time limit
    cluster.waits(run)
    assert "waits: BeginTime" in cluster.moco("show", run.id).stdout
    cluster.queued_again(run)
    cluster.passes(run, 100)
    ask("scancel", "--batch", "--signal=TERM", job)  # as in a time of grace
    cluster.queued_again(run)
    cluster.passes(run, 200)
    urgent = occupy("sleep 1")  # which preempts it
    cluster.waits(run)
    until(lambda: not subprocess.run(["squeue", "-h", "-j", urgent], capture_output=True).stdout)
    cluster.queued_again(run)
    cluster.reaches(run, "finished")
    log = "\n".join(run.log_tail(300))
    assert log.count("is queued again") == 3
    assert end_of(run) == end_of(undisturbed)


def test_a_time_limit_saves_and_the_run_goes_on(cluster: Cluster, images: Path) -> None:
    # Slurm may send the signal up to a minute early: 30 s after the start.
    limits = ("--set", "slurm.time=2", "--set", "slurm.warn=30")
    run = cluster.submitted(images, *limits, optim__epochs=100_000, monitor__knn_every=0)
    until(lambda: any("SIGUSR1: saved" in line for line in run.log_tail(10)))
    cluster.queued_again(run)
    step = run.record().checkpoint_step
    assert step is not None
    cluster.passes(run, step)
    assert cluster.moco("stop", run.id).returncode == 0
    cluster.reaches(run, "stopped")
    until(lambda: cluster.states(run) == [])


def test_a_study_is_an_array_of_workers_with_a_limit(cluster: Cluster, images: Path) -> None:
    free = ("moco.queue_size", "runtime.device")
    inner = [w for w in words(images) if w != "--set" and not w.startswith(free)]
    study = {
        "queue_sizes": "16,48", "seeds": "0,1,2,3", "label_fractions": "1.0", "tasks": "all",
        "heads": "logistic", "subset_seeds": "0", "baselines": "pixels",
        "probe.logistic.l2": "1.0", "probe.logistic.max_iter": "5", "probe.runtime.threads": "1",
    }  # fmt: skip
    sets = [f"pretrain.{w}" for w in inner] + [f"{k}={v}" for k, v in study.items()]
    sets += ["slurm.max_jobs=2", "slurm.cpus=1"]
    options = [word for each in sets for word in ("--set", each)]
    cluster.moco("study", "--device", "cpu", "--submit", "slurm", *options)
    (folder,) = folders(cluster.root)
    most = 0
    workers: set[str] = set()

    def ended() -> bool:
        nonlocal most
        most = max(most, cluster.states(folder).count("RUNNING"))
        workers.update(path.name for path in folder.path.glob("workers/*"))
        return folder.status() == "finished" and not cluster.states(folder)

    until(ended, 400)
    assert most == 2
    records = [run.record() for run in folders(cluster.root)]
    assert sorted(r.kind for r in records) == ["pretrain"] * 8 + ["probe"] * 8 + ["study"]
    assert {r.status for r in records} == {"finished"}
    made = [r for r in records if r.kind == "pretrain"]
    assert len({r.pid for r in made}) >= 2  # several jobs had their part
    assert workers


def test_a_job_that_is_cancelled_leaves_a_stopped_run(cluster: Cluster, images: Path) -> None:
    run = cluster.submitted(images, **LONG)
    cluster.passes(run, 5)
    ask("scancel", cluster.job(run))
    cluster.reaches(run, "stopped")
    until(lambda: cluster.states(run) == [])
    assert run.record().checkpoint_step == run.record().step > 5
    cluster.moco("resume", run.id)
    cluster.reaches(run, "finished")


def test_stop_takes_a_run_that_waits_out_of_the_queue(cluster: Cluster, images: Path) -> None:
    blocking = occupy("sleep 60")
    until(lambda: ask("squeue", "-h", "-j", blocking, "-o", "%T") == "RUNNING")
    try:
        run = cluster.submitted(images, "--set", "slurm.cpus=1")
        (row,) = json.loads(cluster.moco("runs", "--json").stdout)
        assert row["state"] == "queued"
        assert "waits: " in row["job"]
        cluster.waits(run)
        assert "out of the queue" in cluster.moco("stop", run.id).stdout
    finally:
        ask("scancel", blocking)
    assert run.record().status == "stopped"
    until(lambda: cluster.states(run) == [])


def test_a_trainer_that_is_killed_is_lost_and_resume_submits_it_again(
    cluster: Cluster, images: Path, tmp_path: Path
) -> None:
    here = Cluster(tmp_path / "here", tmp_path / "data")
    here.moco("pretrain", *words(images, **LONG))
    run = cluster.submitted(images, **LONG)
    first = cluster.job(run)
    cluster.passes(run, 30)
    os.kill(run.record().pid, signal.SIGKILL)
    cluster.reaches(run, "lost")
    until(lambda: cluster.states(run) == [])
    assert "has left the queue" in cluster.moco("runs").stdout
    cluster.moco("resume", run.id)
    assert cluster.job(run) != first
    cluster.reaches(run, "finished")
    assert end_of(run) == end_of(folders(here.root)[0])


@pytest.mark.parametrize(
    ("words_", "sentence"),
    [
        (
            ("slurm.partition=nowhere",),
            "slurm.partition is nowhere; it must be one of main, urgent",
        ),
        (("slurm.mem=900T",), "sbatch refused: "),
    ],
)
def test_what_slurm_does_not_have_is_one_sentence(
    cluster: Cluster, images: Path, words_: tuple[str, ...], sentence: str
) -> None:
    sets = [word for each in words_ for word in ("--set", each)]
    done = cluster.moco("pretrain", "--submit", "slurm", *words(images), *sets, code=2)
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert folders(cluster.root) == []
