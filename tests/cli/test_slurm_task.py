"""What a job does: it saves at a signal and is queued again, and ends in the same bits."""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.config.resolve import build
from engine.config.schema import PretrainConfig, StudyConfig
from engine.history.history import History
from engine.history.index import note_change
from engine.jobs.execute import execute
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create, own
from engine.study.workers import workers_of
from moco_tui.cli.slurm_task import SlurmSink, SlurmTask
from tests.survival.run_files import curves, steps_in_file
from tests.survival.tiny_runs import SETTINGS, digest, draw_images

from ..stand_in_slurm import StandInSlurm, printed

SHORT = {**SETTINGS, "optim.epochs": 2}
"""12 steps."""


class Signalled(SlurmSink):
    """Gets a signal once the metrics of a step have passed."""

    def __init__(self, number: int = 0, after: int = 0) -> None:
        super().__init__()
        self._comes, self._after = number, after

    def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        if self._comes and step >= self._after and not self.interrupted:
            self.interrupt(self._comes)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    draw_images(root, random.Random(1))
    return root


@pytest.fixture
def job(slurm: StandInSlurm, monkeypatch: pytest.MonkeyPatch) -> StandInSlurm:
    """This process is job 17."""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    return slurm


def made(root: Path, images: Path) -> RunFolder:
    config = build(PretrainConfig, {**SHORT, "data.source": f"folder:{images}"})
    return create(root, "pretrain", config)


def end_of(folder: RunFolder) -> tuple[str, Any, list[int]]:
    state = checkpoints.load(folder.checkpoint_path)
    return digest(state), curves(folder), steps_in_file(folder)


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    folder = made(tmp_path_factory.mktemp("undisturbed"), images)
    assert execute(folder, data_dir=images / "cache") == "finished"
    return end_of(folder)


def work(folder: RunFolder, images: Path, number: int = 0, after: int = 0) -> int:
    return SlurmTask(folder, images / "cache", Signalled(number, after)).run()


def test_a_run_that_is_queued_again_three_times_ends_in_the_same_bits(
    root: Path,
    images: Path,
    job: StandInSlurm,
    undisturbed: tuple[Any, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = made(root, images)
    for restart, after in enumerate((2, 7, 11)):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))
        assert work(folder, images, signal.SIGUSR1, after) == 0
        record = folder.record()
        assert (record.status, record.step) == ("queued", after)
        assert History(root).list()[0].status == "queued"
    assert job.asked("scontrol") == ["scontrol requeue 17"] * 3
    assert work(folder, images) == 0
    assert folder.record().status == "finished"
    assert end_of(folder) == undisturbed
    log = "\n".join(folder.log_tail(200))
    assert log.count("SIGUSR1: saved; job 17 is queued again") == 3


@pytest.mark.parametrize(
    ("shown", "status", "requeued"),
    [
        ("scontrol-cancelled", "stopped", 0),
        ("scontrol-timeout", "queued", 1),
        ("scontrol-running", "queued", 1),  # a time of grace, or a kill by hand
        ("scontrol-preempted", "queued", 0),  # Slurm has done it
    ],
)
def test_what_sigterm_means_slurm_knows(
    root: Path, images: Path, job: StandInSlurm, shown: str, status: str, requeued: int
) -> None:
    job.says("scontrol", printed(shown))
    folder = made(root, images)
    work(folder, images, signal.SIGTERM, 5)
    assert (folder.record().status, folder.record().checkpoint_step) == (status, 5)
    assert len([call for call in job.asked("scontrol") if "requeue" in call]) == requeued


def test_a_job_that_cannot_be_queued_again_leaves_a_stopped_run_and_says_why(
    root: Path, images: Path, job: StandInSlurm
) -> None:
    folder = made(root, images)
    job.refuses("scontrol", "slurm_requeue error: Access/permission denied\n")
    assert work(folder, images, signal.SIGUSR1, 5) == 1
    assert (folder.record().status, folder.record().checkpoint_step) == ("stopped", 5)
    assert "Access/permission denied" in folder.log_tail(1)[0]


def test_slurm_that_gives_no_answer_leaves_a_run_that_can_be_resumed(
    root: Path, images: Path, job: StandInSlurm
) -> None:
    folder = made(root, images)
    job.refuses("scontrol", "slurm_load_jobs error: Unable to contact slurm controller\n")
    assert work(folder, images, signal.SIGTERM, 5) == 130
    assert (folder.record().status, folder.record().checkpoint_step) == ("stopped", 5)


def test_a_request_to_stop_ends_the_job_for_good(
    root: Path, images: Path, job: StandInSlurm
) -> None:
    folder = made(root, images)
    folder.request("stop")  # while it waited
    assert work(folder, images) == 130
    assert folder.record().status == "stopped"
    assert job.calls == []
    assert work(folder, images) == 0  # a job that was submitted before that
    assert folder.record().status == "stopped"


def test_a_signal_before_the_first_step_is_not_forgotten(
    root: Path, images: Path, job: StandInSlurm
) -> None:
    folder = made(root, images)
    sink = SlurmSink()
    sink.interrupt(signal.SIGUSR1)  # while torch was imported
    assert SlurmTask(folder, images / "cache", sink).run() == 0
    assert folder.record().status == "queued"
    assert job.asked("scontrol") == ["scontrol requeue 17"]


def test_a_job_that_slurm_starts_again_goes_on_whatever_it_had_recorded(
    root: Path, images: Path, job: StandInSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(root, images)
    with own(folder, on_change=note_change) as owner:
        owner.transition("running")
        owner.transition("stopped")  # Slurm gave no answer, and has queued the job itself
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert work(folder, images) == 0
    assert folder.record().status == "finished"


def test_a_run_that_fails_fails_the_job(
    root: Path, tmp_path: Path, job: StandInSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(root, tmp_path / "nothing")
    assert work(folder, tmp_path) == 2
    assert folder.record().status == "failed"
    assert "nothing" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ studies

STUDY = {
    "queue_sizes": (16, 48),
    "seeds": (0,),
    "label_fractions": (1.0,),
    "tasks": ("all",),
    "heads": ("logistic",),
    "subset_seeds": (0,),
    "baselines": ("pixels",),
    "probe.logistic.l2": (1.0,),
    "probe.logistic.max_iter": 5,
    "probe.runtime.precision": "float32",
    "probe.runtime.threads": 1,
}


@pytest.fixture
def study(root: Path, images: Path) -> RunFolder:
    free = {"moco.queue_size", "runtime.device"}
    inner = {f"pretrain.{key}": value for key, value in SHORT.items() if key not in free}
    source = {"pretrain.data.source": f"folder:{images}"}
    return create(root, "study", build(StudyConfig, {**STUDY, **inner, **source}))


def runs_of(root: Path) -> list[tuple[str, str]]:
    records = [RunFolder(path.parent).record() for path in root.glob("[!.]*/run.json")]
    return sorted((record.kind, record.status) for record in records)


FINISHED = [("pretrain", "finished")] * 2 + [("probe", "finished")] * 2 + [("study", "finished")]


def test_the_first_task_has_the_study_and_goes_on_after_a_preemption(
    root: Path, images: Path, job: StandInSlurm, study: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    sink = SlurmSink()
    sink.interrupt(signal.SIGUSR1)
    assert SlurmTask(study, images / "cache", sink).run() == 0
    assert job.asked("scontrol") == ["scontrol requeue 17_1"]  # 17 would be the whole array
    assert study.record().status == "queued"
    assert work(study, images) == 0
    assert runs_of(root) == FINISHED


def test_a_task_joins_a_study_that_another_has(
    root: Path, images: Path, job: StandInSlurm, study: RunFolder
) -> None:
    """This one computes all of it, and the process that has it finds nothing left."""
    with own(study, on_change=note_change) as owner:  # as another task, which does nothing
        owner.transition("running")
        assert work(study, images) == 0
        (worker,) = workers_of(study)
        assert worker.record().status == "finished"
        assert worker.record().name == "job 17"
        owner.transition("stopped")
        owner.transition("queued")
    assert work(study, images) == 0
    assert runs_of(root) == FINISHED


def test_a_task_takes_the_study_up_when_the_one_that_had_it_is_gone(
    root: Path, images: Path, job: StandInSlurm, study: RunFolder
) -> None:
    owner = own(study, on_change=note_change)
    owner.transition("running")

    class Leaves(SlurmSink):
        """Has the other process be preempted when this worker has begun its first unit."""

        def metrics(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
            if owner.record.status == "running":
                owner.transition("handed-over")
                owner.transition("queued")
                owner.close()

    assert SlurmTask(study, images / "cache", Leaves()).run() == 0
    assert runs_of(root) == FINISHED
    assert not job.asked("scontrol")


def test_a_task_that_starts_late_finds_nothing_to_do(
    images: Path, job: StandInSlurm, study: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with own(study, on_change=note_change) as owner:
        owner.transition("running")
        owner.transition("stopped")
    assert work(study, images) == 0
    assert "is stopped" in capsys.readouterr().err
    assert workers_of(study) == []
