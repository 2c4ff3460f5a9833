"""A whole pretraining by several ranks: rank 0 runs the loop, the others follow it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.config.schema import PretrainConfig
from engine.errors import TrainingError
from engine.jobs.rank_sink import NO_HAND_OVER, RankSink
from engine.machine.rank_place import rank_place
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain import rank_step
from engine.pretrain.follow import follow
from engine.pretrain.loop import pretrain
from engine.runtime.device import Runtime, apply_runtime, resolve_runtime
from engine.runtime.rank_meeting import join
from engine.sink import NullSink, Request

from ..rank_processes import answers_of, ranks_doing
from ..tiny import RUNTIME, Script, config_with, noise

AUGMENTED = "augmented"  # which ``RankStep`` takes from its module
CPU = torch.device("cpu")


def config_of(**values: Any) -> PretrainConfig:
    fixed = {
        "optim__lr": 0.003,
        "model__dropout": 0.0,
        "runtime__precision": "float32",
        "runtime__threads": 1,
    }
    return config_with(**(fixed | {"optim__epochs": 2, "monitor__knn_every": 1} | values))


def trained(
    path: Path,
    values: dict[str, Any],
    requests: dict[int, list[Request]],
    resumed: bool,
    dies: int = -1,
    breaks: int = -1,
) -> dict[str, Any]:
    """One run, as one of several ranks.

    The rank that dies kills itself after three steps; that which breaks makes images of NaN then.
    """
    config = config_of(**values)
    place = rank_place()
    assert place is not None
    began = time.monotonic()
    with join(place, CPU, {}) as ranks:
        ranks.ready({}, NullSink())
        runtime = resolve_runtime(config.runtime)
        apply_runtime(runtime, deterministic=False)
        script = Killed(requests) if place.rank == dies == 0 else Script(requests)
        try:
            if place.rank:
                if place.rank in (dies, breaks):
                    after_three_steps(die if place.rank == dies else nan)
                follow(config, dataset=noise(), runtime=runtime)
                return {"outcome": "followed"}
            outcome = pretrain(
                config,
                dataset=noise(),
                runtime=runtime,
                sink=RankSink(script, ranks),
                checkpoint=path,
                state=checkpoints.load(path) if resumed else None,
            )
        except TrainingError as error:
            return {"outcome": str(error), "seconds": time.monotonic() - began}
    return {
        "outcome": outcome,
        "lines": script.lines,
        "logged": script.logged,
        "answered": script.acknowledged,
        "facts": script.facts,
    }


def after_three_steps(change: Callable[[Tensor], Tensor]) -> None:
    def changing(*args: Any) -> Tensor:
        calls.append(1)
        views: Tensor = augmented(*args)
        return change(views) if len(calls) == 4 else views

    calls: list[int] = []
    augmented = getattr(rank_step, AUGMENTED)
    setattr(rank_step, AUGMENTED, changing)


def die(views: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return views


def nan(views: Tensor) -> Tensor:
    return views * torch.nan


class Killed(Script):
    def metrics(self, step: int, epoch: float, values: Any) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], float]:
    """What one process reports of the run."""
    script = Script()
    path = tmp_path_factory.mktemp("one") / "checkpoint.pt"
    one = Runtime(CPU, "cpu", bfloat16=False, threads=1)
    assert one == RUNTIME
    config, images = config_of(), noise()
    pretrain(config, dataset=images, runtime=one, sink=script, checkpoint=path)
    return script.lines


def close_to(lines: dict[tuple[int, str], float], whole: dict[tuple[int, str], float]) -> None:
    """All metrics: they are of float32, and differ by rounding that steps make larger."""
    assert lines == {key: pytest.approx(whole[key], rel=2e-3, abs=2e-3) for key in lines}


def test_losses_knn_probe_and_measures_are_those_of_one_process(
    tmp_path: Path, whole: dict[tuple[int, str], float]
) -> None:
    path = tmp_path / "checkpoint.pt"
    first, *others = answers_of(2, trained, path, {}, {}, False)
    assert (first["outcome"], others) == ("finished", [{"outcome": "followed"}])
    assert first["lines"].keys() == whole.keys()
    assert {"knn/top1", "online/top1", "contrast/gap"} <= {name for _, name in whole}
    close_to(first["lines"], whole)
    facts = first["facts"]
    assert (facts["ranks"], facts["nodes"], facts["backend"]) == (2, 1, "gloo")
    assert facts["step"] == "plain"
    assert [line for line in first["logged"] if "2 ranks share each step over gloo" in line]
    assert checkpoints.load(path)["step"] == 6


def test_a_run_of_two_ranks_goes_on_alone_and_the_other_way_round(
    tmp_path: Path, whole: dict[tuple[int, str], float]
) -> None:
    path = tmp_path / "checkpoint.pt"
    requests: dict[int, list[Request]] = {2: ["stop"]}
    first, _ = answers_of(2, trained, path, {}, requests, False)
    assert (first["outcome"], first["answered"]) == ("stopped", [("stop", 2)])
    script = Script({4: ["stop"]})
    state = checkpoints.load(path)
    config, images = config_of(), noise()
    pretrain(config, dataset=images, runtime=RUNTIME, sink=script, checkpoint=path, state=state)
    last, _ = answers_of(2, trained, path, {}, {}, True)
    assert last["outcome"] == "finished"
    lines = first["lines"] | script.lines | last["lines"]
    steps = {step for step, name in lines if name == "train/loss"}
    assert steps == {1, 2, 3, 4, 5, 6}
    close_to(lines, whole)


def test_requests_reach_all_ranks_at_one_step(tmp_path: Path) -> None:
    asked: dict[int, list[Request]] = {2: ["pause", "checkpoint", "continue", "hand-over"]}
    first, other = answers_of(2, trained, tmp_path / "checkpoint.pt", {}, asked, False)
    assert (first["outcome"], other["outcome"]) == ("finished", "followed")
    assert [request for request, _ in first["answered"]] == asked[2] or first["answered"] == [
        *(("pause", 2), ("checkpoint", 2), ("continue", 2)),
        ("hand-over", 2),
    ]
    assert NO_HAND_OVER in first["logged"]


def test_a_loss_that_is_not_finite_ends_all_ranks(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first, other = answers_of(2, trained, path, {}, {}, False, -1, 1)
    assert "The loss became nan at step 4" in first["outcome"]
    assert other == {"outcome": "followed"}


@pytest.mark.parametrize("dies", [0, 1])
def test_a_rank_that_is_killed_is_named_by_the_others(tmp_path: Path, dies: int) -> None:
    values, path = {"model__bn_splits": 4}, tmp_path / "checkpoint.pt"
    with ranks_doing(4, trained, path, values, {}, False, dies) as ranks:
        said = [rank.answer() for rank in ranks if rank is not ranks[dies]]
        pid = ranks[dies].process.pid
    for one in said:
        assert one["outcome"].startswith(f"Rank {dies} (process {pid} on ")
        assert "has ended: it was killed" in one["outcome"]
        assert one["seconds"] < 30.0
