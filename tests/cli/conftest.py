"""Fabricated run folders, and the commands called as a person calls them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.config.presets import preset
from engine.config.resolve import build, resolve
from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig
from engine.history.index import note_change
from engine.runs import RunFolder, RunOwner, create, own
from engine.sink import Plan
from engine.study import grid
from moco_tui.cli import main


@dataclass(frozen=True)
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "runs"
    root.mkdir()
    monkeypatch.setenv("MOCO_TUI_RUNS", str(root))
    monkeypatch.setenv("MOCO_TUI_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*args: str) -> Called:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(args))
        said = capsys.readouterr()
        code = left.value.code
        return Called(code if isinstance(code, int) else int(bool(code)), said.out, said.err)

    return call


PLAN = Plan(
    total_steps=40,
    steps_per_epoch=10,
    pairs_per_step=256,
    device="cpu",
    chance=15.25,
    facts={"threads": 2},
)


def begin(folder: RunFolder, plan: Plan = PLAN) -> RunOwner:
    owner = own(folder, on_change=note_change)  # as whoever trains a run owns it
    owner.transition("running")
    owner.plan(plan)
    return owner


def trained(
    root: Path,
    *,
    name: str = "",
    losses: tuple[float, ...] = (12.0, 11.0, 10.5),
    top1: float = 40.0,
    untrained: float | None = None,
    chance: float = PLAN.chance,
    status: Any = "finished",
    values: Mapping[str, Any] | None = None,
) -> RunFolder:
    """A pretraining that left these losses and this kNN; status None leaves it lost.

    ``untrained`` is the kNN before training, ``chance`` the loss at chance.
    """
    config = build(PretrainConfig, {**preset("quick").values, **(values or {})})
    folder = create(root, "pretrain", config, name=name, preset="quick")
    with begin(folder, msgspec.structs.replace(PLAN, chance=chance)) as owner:
        if untrained is not None:
            owner.metrics(0, 0.0, {"knn/top1": untrained})
        for step, loss in enumerate(losses, start=1):
            owner.metrics(step, step / 10, {"train/loss": loss, "train/lr": 0.06})
        owner.metrics(len(losses), len(losses) / 10, {"knn/top1": top1})
        owner.log("a line of the log")
        owner.checkpointed(len(losses))
        if status is not None:
            owner.transition(status)
    return folder


RESULT = {
    "task": "ten",
    "head": "logistic",
    "label_fraction": 0.1,
    "labels": 500,
    "test_images": 1000,
    "encoder_step": 40,
    "encoder_schedule_steps": 40,
    "protocol": "features before the projection",
    "rows": [
        {
            "source": source,
            "top1": top1,
            "low": top1 - 2,
            "high": top1 + 2,
            "balanced": top1,
            "majority": 10.0,
        }
        for source, top1 in (("pretrained", 57.5), ("random-init", 46.25))
    ],
}


def probed(
    root: Path, parent: str, *, name: str = "", encoder_step: int | None = 40, **values: Any
) -> RunFolder:
    """A finished probe; ``encoder_step`` None: of version 0.1, which did not record it."""
    at = {"encoder_step": encoder_step, "encoder_schedule_steps": 40}
    result = (
        RESULT | at
        if encoder_step is not None
        else {key: value for key, value in RESULT.items() if key not in at}
    )
    folder = create(root, "probe", build(ProbeConfig, values), name=name, parent=parent)
    with begin(folder, Plan(total_steps=3)) as owner:
        owner.metrics(3, 3.0, {"probe/pretrained/test_top1": 57.5 + (encoder_step or 0) / 8})
        owner.result(result)
        owner.transition("finished")
    return folder


def study_with_a_run(root: Path) -> tuple[RunFolder, RunFolder]:
    """A study called ``two sizes``, and a stopped pretraining that it made."""
    config = resolve(StudyConfig, preset_name="quick-study")
    study = create(root, "study", config, name="two sizes")
    variant, seed = grid.pretrainings(config)[0]
    made = create(
        *(root, "pretrain", grid.pretrain_config(config, variant, seed)),
        name=grid.name_of(variant, seed),
    )
    with own(made) as owner:
        owner.transition("running")
        owner.transition("stopped")
    return study, made
