"""extend and fork: what they make, what they say, and what they refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from engine.config.schema import PretrainConfig
from engine.config.slurm_schema import SlurmOptions
from engine.runs import RunFolder, create, folders
from engine.runs.kept_checkpoints import keep
from engine.runs.root import BranchStart
from engine.runs.submission import read_submission
from moco_tui.cli import branch_run
from moco_tui.cli.options import Settings
from moco_tui.cli.run_here import NewRun

from ..stand_in_slurm import StandInSlurm, printed
from .conftest import Call, probed, trained


@pytest.fixture
def finished(root: Path) -> RunFolder:
    """A pretraining of 12 epochs of ten steps, whose last checkpoint is of epoch 4."""
    folder = trained(root, name="base", losses=tuple(12.0 - i / 10 for i in range(40)))
    folder.checkpoint_path.write_bytes(b"the last one")
    keep(folder.path, folder.checkpoint_path, "epoch", 2)
    return folder


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[NewRun]:
    """The runs that were begun; nothing is trained, and no checkpoint is loaded."""
    made: list[NewRun] = []

    def start(settings: Settings, run: NewRun, **_: object) -> int:
        made.append(run)
        create(settings.root, run.kind, run.config, preset=run.preset, start=run.start)
        return 0

    monkeypatch.setattr(branch_run, "start", start)
    monkeypatch.setattr(branch_run, "prepare", lambda *_: None)
    return made


def test_extend_goes_on_from_the_last_checkpoint_with_the_longer_schedule(
    finished: RunFolder, call: Call, begun: list[NewRun]
) -> None:
    called = call("extend", "base", "--epochs", "24")
    assert called.code == 0
    (run,) = begun
    assert isinstance(run.start, BranchStart)
    assert isinstance(run.config, PretrainConfig)
    assert run.start.branch["run"] == finished.id
    assert (run.start.branch["checkpoint"], run.start.branch["epoch"]) == ("last", 4.0)
    assert (finished.record().config["optim"]["epochs"], run.config.optim.epochs) == (12, 24)
    assert run.preset == "quick"
    before = 0.03 * (1 + math.cos(math.pi * 3 / 12))
    after = 0.03 * (1 + math.cos(math.pi * 4 / 24))
    assert f"rises from {before:.4g} to {after:.4g} at epoch 4" in called.err


def test_fork_takes_a_kept_checkpoint_and_other_settings(
    finished: RunFolder, call: Call, begun: list[NewRun], root: Path
) -> None:
    assert call("fork", "base@2", "--set", "lr=0.5", "--set", "queue_size=64").code == 0
    (run,) = begun
    assert run.start is not None
    assert (run.start.branch["checkpoint"], run.start.branch["how"]) == ("2", "fork")
    listed = json.loads(call("runs", "--json").out)
    (made,) = [one for one in listed if one["began_from"]]
    assert made["began_from"] == f"{finished.id}@2"
    assert (made["queue_size"], made["parent"]) == (64, "")
    assert f"(from {finished.id}@2)" in call("runs").out
    shown = call("show", made["id"]).out
    assert f"{finished.id}@2, forked at step 20, epoch 2" in shown
    compared = call("compare", finished.id, made["id"]).out
    assert "went on from" in compared
    assert f"{finished.id}@2" in compared


def test_a_dry_run_says_what_it_would_be_and_makes_nothing(
    finished: RunFolder, call: Call, begun: list[NewRun], root: Path
) -> None:
    called = call("--read-only", "fork", "base@2", "--set", "lr=0.5", "--dry-run")
    assert called.code == 0
    assert f"would go on from {finished.id}@2, step 20, epoch 2, to epoch 12" in called.out
    assert called.out.split()[-3:] == ["optim.lr", "0.5", "0.06"]
    facts = json.loads(call("extend", "base", "--epochs", "20", "--dry-run", "--json").out)
    assert facts["changed"] == {"optim.epochs": {"value": 20, "before": 12}}
    assert facts["began_from"]["run"] == finished.id
    assert begun == []
    assert [path.name for path in root.iterdir() if path.is_dir()] == [finished.id]


def test_what_cannot_be_gone_on_from_is_one_sentence(
    finished: RunFolder, call: Call, begun: list[NewRun], root: Path
) -> None:
    stopped = trained(root, name="half", status="stopped")
    probe = probed(root, finished.id)
    for words, said in (
        (("fork", "base@3"), "has kept no checkpoint of epoch 3; it has that of epoch 2 and @last"),
        (("fork", "base@2", "--set", "model.dim=8"), "whose weights do not fit another one"),
        (("fork", "base@2", "--set", "epochs=2"), "has 2 epochs behind it; it must be larger"),
        (("fork", "base@2", "--set", "lrr=2"), "lrr is not a setting of a pretraining"),
        (("fork", probe.id), "is a probe; only a pretraining can be gone on with"),
        (("extend", "base", "--epochs", "4"), "has 4 epochs behind it; it must be larger"),
        (("extend", "base", "--epochs", "0"), "optim.epochs is 0"),
        (("extend", "base@2", "--epochs", "9"), f"fork {finished.id}@2 --set optim.epochs=9"),
        (("extend", "half", "--epochs", "9"), f"moco-tui resume {stopped.id} finishes it"),
        (("--read-only", "extend", "base", "--epochs", "20"), "--read-only was given"),
        (("extend", "base"), "--epochs"),
    ):
        called = call(*words)
        assert called.code == 2, words
        assert said in called.err, words
        assert "Traceback" not in called.err
    assert begun == []


@pytest.mark.parametrize(
    ("words", "key", "value", "checkpoint"),
    [
        (("extend", "base", "--epochs", "24"), "epochs", 24, b"the last one"),
        (("fork", "base@2", "--set", "lr=0.5"), "lr", 0.5, b"that of epoch 2"),
    ],
)
def test_slurm_goes_on_from_the_checkpoint(
    finished: RunFolder,
    call: Call,
    root: Path,
    slurm: StandInSlurm,
    words: tuple[str, ...],
    key: str,
    value: float,
    checkpoint: bytes,
) -> None:
    finished.checkpoint_path.write_bytes(b"that of epoch 2")
    keep(finished.path, finished.checkpoint_path, "epoch", 2)
    finished.checkpoint_path.unlink()
    finished.checkpoint_path.write_bytes(b"the last one")
    job = ("--submit", "slurm", "--set", "slurm.time=2:00:00", "--set", "slurm.gpus=1")
    called = call(*words, *job, "--name", "on", "--json")
    assert called.code == 0, called.err
    (made,) = [folder for folder in folders(root) if folder.id != finished.id]
    record = made.record()
    assert (record.status, record.name, record.config["optim"][key]) == ("queued", "on", value)
    assert "slurm" not in json.dumps(record.config)
    submission = read_submission(made)
    assert submission is not None
    assert submission.job == "17"
    assert submission.options == SlurmOptions(time="2:00:00", gpus="1")
    assert json.loads(called.out)["job"] == "17"
    assert f"--job-name=moco-tui-{made.id}" in slurm.script
    assert str(made.path) in slurm.script.strip().splitlines()[-1]
    # The job needs the other run no more: the checkpoint lies in the folder of the new one.
    assert checkpoint in [path.read_bytes() for path in made.path.iterdir() if path.is_file()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--submit", "pbs"), "--submit is pbs; it must be slurm"),
        (("--submit", "slurm", "--detach"), "--submit and --detach exclude each other"),
        (("--submit", "slurm", "--dry-run"), "--submit and --dry-run exclude each other"),
        (("--set", "slurm.time=10"), "slurm.time=10 is of a Slurm job; it goes with --submit"),
        (("--submit", "slurm", "--set", "slurm.partition=no"), "slurm.partition is no; it must be"),
    ],
)
def test_what_cannot_be_submitted_is_one_sentence_and_no_folder(
    finished: RunFolder,
    call: Call,
    root: Path,
    slurm: StandInSlurm,
    words: tuple[str, ...],
    said: str,
) -> None:
    for command in (("extend", "base", "--epochs", "24"), ("fork", "base", "--set", "epochs=24")):
        called = call(*command, *words)
        assert called.code == 2
        assert said in called.err.splitlines()[-1]
        assert [folder.id for folder in folders(root)] == [finished.id]
    assert slurm.asked("sbatch") == []


def test_extend_takes_settings_of_the_job_alone(
    finished: RunFolder, call: Call, root: Path, slurm: StandInSlurm
) -> None:
    for submit in ((), ("--submit", "slurm")):
        called = call("extend", "base", "--epochs", "24", *submit, "--set", "lr=0.5")
        assert called.code == 2
        assert "--set lr=0.5: extend changes the length of the schedule alone" in called.err
        assert f"fork {finished.id} --set optim.epochs=24 takes other settings too" in called.err
    assert [folder.id for folder in folders(root)] == [finished.id]


def test_what_slurm_refuses_leaves_no_folder(
    finished: RunFolder, call: Call, root: Path, slurm: StandInSlurm
) -> None:
    slurm.refuses("sbatch", printed("sbatch-partition.err"))
    called = call("extend", "base", "--epochs", "24", "--submit", "slurm")
    assert called.code == 2
    assert "sbatch refused: invalid partition specified: nowhere" in called.err
    assert [folder.id for folder in folders(root)] == [finished.id]
