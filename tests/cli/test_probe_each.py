"""One probe for each checkpoint: which encoders are probed, and the curve that is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.config.schema import ProbeConfig
from engine.history.index import note_change
from engine.runs import RunFolder, create, own
from engine.runs.kept_checkpoints import keep
from engine.sink import Plan
from moco_tui.cli import probe_each
from moco_tui.cli.options import Settings
from moco_tui.cli.run_here import NewRun

from ..stand_in_slurm import StandInSlurm
from .conftest import Call, trained

STEPS = {"1": 10, "2": 20, "best": 30, "": 40}


@pytest.fixture
def run(root: Path) -> RunFolder:
    """A pretraining that has kept epochs 1 and 2 and, of epoch 3, the best; the last is of 4."""
    folder = trained(root, name="base", losses=tuple(12.0 - i / 10 for i in range(40)))
    folder.checkpoint_path.write_bytes(b"x")
    for reason, epoch in (("epoch", 1), ("epoch", 2), ("best", 3)):
        keep(folder.path, folder.checkpoint_path, reason, epoch)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def probes(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checkpoints that were probed; each has ten points more than the one before."""
    done: list[str] = []

    def train(settings: Settings, new: NewRun) -> str:
        done.append(new.checkpoint)
        folder = create(
            settings.root, "probe", new.config, parent=new.parent, checkpoint=new.checkpoint
        )
        step = STEPS[new.checkpoint]
        with own(folder, on_change=note_change) as owner:
            owner.transition("running")
            owner.plan(Plan(total_steps=1))
            owner.metrics(1, 1.0, {"probe/pretrained/test_top1": 20.0 + step})
            owner.result({"encoder_step": step, "encoder_schedule_steps": 120})
            owner.transition("finished")
        return "finished"

    monkeypatch.setattr(probe_each, "_train", train)
    return done


def test_every_encoder_is_probed_once_and_those_that_are_there_stay(
    run: RunFolder, call: Call, probes: list[str]
) -> None:
    called = call("probe", "base", "--each-checkpoint", "--label-fraction", "0.5")
    assert called.code == 0
    assert probes == ["1", "2", "best", ""]
    assert [line.split() for line in called.out.splitlines()] == [
        ["epoch", "step", "ten", "50", "%", "logistic"],
        *([str(e), str(10 * e), f"{20 + 10 * e}.0", "%"] for e in (1, 2, 3, 4)),
    ]
    again = call("probe", "base", "--each-checkpoint", "--label-fraction", "0.5", "--json")
    assert "4 of 4 checkpoints have this probe already" in again.err
    (curve,) = json.loads(again.out)["curves"]
    assert [point["epoch"] for point in curve["points"]] == [1, 2, 3, 4]
    assert len(probes) == 4
    assert call("probe", "base", "--each-checkpoint", "--head", "linear").code == 0
    assert len(probes) == 8  # another probe
    shown = json.loads(call("show", "base", "--json").out)
    assert [row["name"] for row in shown["checkpoints"]] == ["1", "2", "best", "last"]
    assert len(shown["epoch_curves"]) == 2
    text = call("show", "base").out
    assert "top-1 % of its probes" in text
    one = json.loads(call("show", "base@2", "--json").out)
    assert (one["step"], one["size"], len(one["probes"])) == (20, 1, 2)


def test_curves_of_two_runs_stand_side_by_side(
    run: RunFolder, root: Path, call: Call, probes: list[str]
) -> None:
    other = trained(root, name="other", losses=tuple(12.0 - i / 10 for i in range(40)))
    other.checkpoint_path.write_bytes(b"x")
    for name in ("base", "other"):
        call("probe", name, "--each-checkpoint")
    assert probes == ["1", "2", "best", "", ""]
    out = call("compare", "base", "other").out
    table = out[out.index("top-1 % by epochs, ten 10 % logistic") :].splitlines()
    assert table[1].split() == ["epoch", run.id, other.id]
    assert table[2].split() == ["1", "30.0", "%", "-"]
    assert table[5].split() == ["4", "60.0", "%", "60.0", "%"]
    facts = json.loads(call("compare", "base", "other", "--json").out)["epochs"]
    assert [p["top1"] for p in facts["ten 10 % logistic"][run.id]] == [30, 40, 50, 60]
    assert "epochs,ten 10 % logistic @4,60.0,60.0" in call("compare", "base", "other", "--csv").out


def test_what_cannot_be_probed_is_said(run: RunFolder, root: Path, call: Call) -> None:
    probe = create(root, "probe", ProbeConfig())
    for words, said in (
        (("probe", "base@2", "--each-checkpoint"), "names one; give"),
        (("probe", "base@9"), "has kept no checkpoint of epoch 9"),
        (("probe", probe.id, "--each-checkpoint"), "is a probe; a probe needs a pretraining"),
        (("export", "base@2"), "--format csv writes the curves of a run"),
        (("show", "base@9"), "has kept no checkpoint of epoch 9"),
        (("rename", "base", "new@best"), "means a checkpoint of a run"),
    ):
        called = call(*words)
        assert (called.code, said in called.err) == (2, True), (words, called.err)


def test_each_probe_is_a_job_of_its_own(
    run: RunFolder, call: Call, root: Path, slurm: StandInSlurm
) -> None:
    called = call("probe", "base", "--each-checkpoint", "--submit", "slurm", "--json")
    assert called.code == 0, called.err
    assert len(slurm.asked("sbatch")) == len(STEPS)
    made = [RunFolder(root / fact["id"]).record() for fact in json.loads(called.out)]
    assert [record.checkpoint for record in made] == list(STEPS)
    assert {record.status for record in made} == {"queued"}
