"""A state that no run can have is refused by one sentence that names what is wrong in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.dataset import Dataset, Split
from engine.errors import DamagedFileError, RunError
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.pretraining import Pretraining

from ..tiny import RUNTIME, config_with

State = dict[str, Any]


@pytest.fixture(scope="module")
def training() -> Pretraining:
    images = torch.randint(0, 256, (28, 3, 32, 32), dtype=torch.uint8)
    return Pretraining(config_with(), images, RUNTIME)


@pytest.fixture(scope="module")
def state(training: Pretraining) -> State:
    training.advance()
    return copy.deepcopy(training.state_dict())


def change(*keys: Any, to: Any) -> Callable[[State], None]:
    def apply(state: State) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = to

    return apply


def without(*keys: Any) -> Callable[[State], None]:
    def apply(state: State) -> None:
        for key in keys[:-1]:
            state = state[key]
        del state[keys[-1]]

    return apply


GROUP = ("optimizer", "param_groups", 0)
WRONG = {
    "step is no whole number": change("step", to=-1),
    "step is no whole number from 0 to": change("step", to=10**9),
    "step is no whole": change("step", to=True),
    "step is no": without("step"),
    "model is missing": without("model"),
    "model is missing or no dict": change("model", to=[1]),
    "model lacks queue, which the model of the run has": without("model", "queue"),
    "model has other, which the model of the run does not know": change(
        "model", "other", to=torch.ones(1)
    ),
    "model.queue is missing or no tensor": change("model", "queue", to=1.5),
    "model.queue is 3 x 4": change("model", "queue", to=torch.ones(3, 4)),
    r"model.queue_ptr is a single number \(float32\) there": change(
        "model", "queue_ptr", to=torch.tensor(1.0)
    ),
    "model.queue_ptr is no whole number": change("model", "queue_ptr", to=torch.tensor(10**6)),
    "optimizer is missing": change("optimizer", to=None),
    "optimizer.param_groups does not fit": change("optimizer", "param_groups", to=[]),
    "optimizer.param_groups.lr is no finite": change(*GROUP, "lr", to=float("nan")),
    "optimizer.param_groups.lr is no": change(*GROUP, "lr", to=None),
    "optimizer.param_groups.momentum is no": change(*GROUP, "momentum", to="x"),
    "optimizer.param_groups.params does not fit": change(*GROUP, "params", to=[0]),
    "optimizer.state has an entry for no parameter": change("optimizer", "state", 999, to={}),
    "an entry that SGD does not know": change("optimizer", "state", 0, to={"x": 1}),
    "momentum_buffer is 1 ": change("optimizer", "state", 0, to={"momentum_buffer": torch.ones(1)}),
    "mean is missing": without("mean"),
    "mean or std is no finite number": change("std", to=torch.zeros(3)),
    "generators is missing": without("generators"),
    "generators.default is 3": change(
        "generators", "default", to=torch.zeros(3, dtype=torch.uint8)
    ),
    "state of a random generator is impossible": change(
        "generators", "augment", to=torch.full((5056,), 255, dtype=torch.uint8)
    ),
    "config is missing": change("config", to="[" * 100_000),
    "steps_per_epoch is no": without("steps_per_epoch"),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_is_wrong_is_named(sentence: str, training: Pretraining, state: State) -> None:
    wrong = copy.deepcopy(state)
    WRONG[sentence](wrong)
    before = training.state.step
    with pytest.raises(DamagedFileError, match=sentence) as caught:
        training.load_state_dict(wrong)
    assert str(caught.value).startswith("The checkpoint is damaged: ")
    assert str(caught.value).isprintable()
    assert training.state.step == before


def test_a_size_that_is_only_claimed_is_not_made(training: Pretraining, state: State) -> None:
    wrong = copy.deepcopy(state)
    wrong["model"]["queue"] = torch.zeros(1).expand(1 << 40)  # 4 TiB, were it copied
    with pytest.raises(DamagedFileError, match=r"model\.queue is 1099511627776"):
        training.load_state_dict(wrong)


def test_a_whole_state_is_taken(training: Pretraining, state: State) -> None:
    training.load_state_dict(copy.deepcopy(state))
    assert training.state.step == 1


def test_text_of_a_file_is_shown_clean(training: Pretraining, state: State) -> None:
    wrong = state | {"device_type": "\x1b]0;x\x07cpu"}
    with pytest.raises(RunError) as caught:
        training.load_state_dict(wrong)
    assert str(caught.value).isprintable()


def test_the_counts_of_the_loop_are_checked(tmp_path: Path) -> None:
    from engine.pretrain.loop import pretrain
    from engine.sink import NullSink

    images = torch.randint(0, 256, (28, 3, 32, 32), dtype=torch.uint8)
    data = Dataset("noise", Split(images, torch.full((28,), -1)), None, (), ())
    path = tmp_path / "checkpoint.pt"
    kwargs: dict[str, Any] = {"dataset": data, "runtime": RUNTIME, "sink": NullSink()}
    assert pretrain(config_with(), checkpoint=path, **kwargs) == "finished"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"], "no second one is left"
    state = checkpoints.load(path)
    for name, wrong in (("epoch_sum", "x"), ("epoch_count", -1), ("monitored_step", 10**9)):
        with pytest.raises(DamagedFileError, match=name):
            pretrain(config_with(), checkpoint=path, state=state | {name: wrong}, **kwargs)
