"""A step that several ranks share: it is the step that one process computes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.errors import ConfigError
from engine.machine.rank_place import rank_place
from engine.pretrain.plain_step import PlainStep, augmented
from engine.pretrain.pretraining import Pretraining
from engine.pretrain.rank_step import RankStep, check_ranks
from engine.pretrain.training_state import TrainingState
from engine.runtime.device import apply_runtime, resolve_runtime
from engine.runtime.rank_meeting import join
from engine.seeds import stream_seed
from engine.sink import NullSink

from ..rank_processes import answers_of
from ..tiny import TINY, noise

CPU = torch.device("cpu")
SHARED = TINY | {
    "optim.batch_size": 16,
    "optim.epochs": 60,
    "model.bn_splits": 4,
    "model.dropout": 0.0,  # the one thing that differs
    "runtime.precision": "float32",
    "runtime.threads": 1,
    "monitor.measures": True,
}


def config_of(values: dict[str, Any]) -> PretrainConfig:
    return build(PretrainConfig, SHARED | values)


def in_float64(training: Pretraining) -> None:
    """Has a pretraining compute in float64, from the same images and random numbers."""

    def doubled(state: TrainingState, images: Tensor, numbers: Tensor) -> Tensor:
        return augmented(state, images, numbers).double()

    training.state.model.double()
    step = training.compute_step
    if isinstance(step, RankStep):
        step.augment = doubled
    else:
        assert isinstance(step, PlainStep)
        step.augment = lambda images, numbers: doubled(
            training.state, torch.cat([images, images]), numbers
        )


def trained(values: dict[str, Any], steps: int, double: bool) -> dict[str, Any]:
    """Losses and the last state of some steps, computed alone or as one of several ranks."""
    config = config_of(values)
    place = rank_place()
    if place is not None:
        join(place, CPU, {}).ready({}, NullSink())
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)
    training = Pretraining(config, noise().train.images, runtime)
    training.state.model.keep_features(config.optim.batch_size)
    if place is None:  # on the CPU it would be computed group by group
        training.compute_step = PlainStep(training.state)
    if double:
        in_float64(training)
    step = training.compute_step
    if isinstance(step, RankStep) and not step.ranks.is_first:
        losses = followed(training, step)
    else:
        losses = [float(training.advance()) for _ in range(steps)]
    training.close()
    state = training.state
    tensors = {name: value.detach().clone() for name, value in state.model.state_dict().items()}
    for number, moments in enumerate(state.optimizer.state.values()):
        tensors[f"momentum {number}"] = moments["momentum_buffer"].clone()
    assert state.gradient_norm is not None
    assert state.model.kept is not None
    tensors |= {"gradient norm": state.gradient_norm, "features": state.model.kept}
    return {"losses": losses, "tensors": tensors, "seed": torch.initial_seed()}


def followed(training: Pretraining, step: RankStep) -> list[float]:
    """As ``engine.pretrain.follow`` does, with the losses kept."""
    losses: list[float] = []
    while True:
        command, shared = step.ranks.next_command()
        if command == "end":
            return losses
        if command == "share":
            step.take(shared)
        else:
            losses.append(float(training.advance()))


def alone(*args: Any) -> dict[str, Any]:
    return dict(answers_of(1, trained, *args)[0])


def check_equal(one: dict[str, Any], ranks: list[dict[str, Any]], tolerance: float) -> None:
    for rank in ranks:
        assert rank["losses"] == pytest.approx(one["losses"], rel=tolerance, abs=tolerance)
        assert rank["tensors"].keys() == one["tensors"].keys()
        for name, value in one["tensors"].items():
            there = rank["tensors"][name]
            assert torch.allclose(there, value, rtol=tolerance, atol=tolerance), name
            # Between ranks to the bit: nothing would ever bring them together again.
            assert torch.equal(there, ranks[0]["tensors"][name]), name


@pytest.mark.parametrize("symmetric", [True, False])
def test_ranks_compute_the_steps_of_one_process(symmetric: bool) -> None:
    """Losses, weights, momenta, queue, statistics, in float64: only rounding is left to differ."""
    values = {"moco.symmetric": symmetric}
    one = alone(values, 8, True)
    check_equal(one, answers_of(2, trained, values, 8, True), 1e-9)
    if symmetric:
        check_equal(one, answers_of(4, trained, values, 8, True), 1e-9)


def test_in_float32_the_first_steps_are_those_of_one_process() -> None:
    check_equal(alone({}, 3, False), answers_of(2, trained, {}, 3, False), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
def test_fifty_steps_of_ranks_are_those_of_one_process(symmetric: bool, shuffled: bool) -> None:
    values = {"moco.symmetric": symmetric, "moco.shuffle_keys": shuffled}
    one = alone(values, 50, True)
    for world in (2, 4):
        check_equal(one, answers_of(world, trained, values, 50, True), 1e-6)


def test_each_rank_draws_dropout_from_a_stream_of_its_own_and_all_stay_the_same() -> None:
    values = {"model.dropout": 0.5}
    first, second = (answers_of(2, trained, values, 2, False) for _ in range(2))
    for name, value in first[0]["tensors"].items():
        assert torch.equal(value, first[1]["tensors"][name]), name
        assert torch.equal(value, second[0]["tensors"][name]), name
    # As each step seeds it: what a checkpoint holds of rank 0 is all that a resume needs.
    assert first[0]["seed"] == stream_seed(0, "default")
    assert first[1]["seed"] == stream_seed(0, "dropout", 1, 1)
    assert first[0]["losses"] != alone({}, 2, False)["losses"]


@pytest.mark.parametrize(
    ("values", "ranks", "words"),
    [
        ({"optim.batch_size": 16}, 3, "optim.batch_size is 16, which 3 ranks cannot share"),
        ({"model.bn_splits": 2}, 4, "model.bn_splits is 2, which 4 ranks cannot share"),
        ({"model.bn_splits": 1}, 2, "model.bn_splits is 1, which 2 ranks cannot share"),
    ],
)
def test_what_does_not_divide_is_refused(values: dict[str, Any], ranks: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_ranks(config_of(values), ranks)
    check_ranks(config_of({}), 4)


def test_batchnorm_that_is_not_split_is_told_of() -> None:
    """It cannot be spread over ranks, so the run is not that of one process."""
    shared: list[Any] = []
    ranks: Any = SimpleNamespace(
        rank=0, world=2, is_first=True, backend="gloo", folder="", share=shared.append
    )
    runtime = resolve_runtime(config_of({}).runtime)
    state = Pretraining(config_of({}), noise().train.images, runtime).state
    assert len(RankStep(state, ranks).prepare()) == 1
    state.model.encoder_q.backbone.add_module("own", torch.nn.BatchNorm1d(4))
    step = RankStep(state, ranks)
    _, told = step.prepare()
    assert "normalises the part of each rank by itself" in told
    assert step.prepare() == [], "the state is shared once"
    assert len(shared) == 2
