"""Going on from another run's checkpoint: what is taken over, to the bit, and what is not."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError, DamagedFileError, RunError
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.branch import branched, check_start, first_step
from engine.pretrain.loop import pretrain
from engine.pretrain.pretraining import Pretraining

from ..tiny import RUNTIME, Script, config_with, noise, run
from ..trees import differences

STEPS = 3  # of an epoch


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture(scope="module")
def half(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The end of a run of two epochs of a schedule of four."""
    path = tmp_path_factory.mktemp("half") / "c.pt"
    assert run(config_with(optim__stop_epoch=2), dataset, path, Script()) == "finished"
    return checkpoints.load(path)


def go_on(
    half: dict[str, Any], config: PretrainConfig, dataset: Dataset, path: Path
) -> tuple[dict[str, Any], Script]:
    sink = Script()
    kept = copy.deepcopy(half)
    outcome = pretrain(
        config, dataset=dataset, runtime=RUNTIME, sink=sink, checkpoint=path, start=half
    )
    assert outcome == "finished"
    assert differences(half, kept) == []  # the other run's state is as it was
    return checkpoints.load(path), sink


def without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in names}


def test_to_the_end_of_the_same_schedule_it_is_the_uninterrupted_run(
    half: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    whole, sink = Script(), None
    assert run(config_with(), dataset, tmp_path / "whole.pt", whole) == "finished"
    end, sink = go_on(half, config_with(), dataset, tmp_path / "b.pt")
    uninterrupted = checkpoints.load(tmp_path / "whole.pt")
    # The best kNN is that of each run: the new one measured from epoch 2 on.
    assert differences(without(end, "best"), without(uninterrupted, "best")) == []
    losses = {at: v for at, v in whole.lines.items() if at[0] > 2 * STEPS and "loss" in at[1]}
    assert {at: v for at, v in sink.lines.items() if "loss" in at[1]} == losses
    # It shows by itself where it began: the untrained encoder, and that of the checkpoint.
    for at in ((0, "knn/top1"), (2 * STEPS, "knn/top1")):
        assert sink.lines[at] == whole.lines[at]


def test_a_longer_schedule_has_its_rate_at_the_epoch_that_was_reached(
    half: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    """Against the steps of a pretraining that is given weights and rates by hand."""
    end, sink = go_on(
        half, config_with(optim__epochs=8, optim__stop_epoch=3), dataset, tmp_path / "b"
    )
    rate = 0.06 * (1 + torch.cos(torch.tensor(torch.pi * 2 / 8, dtype=torch.float64))) / 2
    assert sink.lines[7, "train/lr"] == pytest.approx(float(rate), rel=1e-12)
    by_hand = Pretraining(config_with(), dataset.train.images, RUNTIME)
    by_hand.load_state_dict(half)
    for _ in range(STEPS):
        indices = by_hand.state.next_indices()
        by_hand.state._set_lr(sink.lines[7, "train/lr"])
        by_hand.compute_step(indices)
        by_hand.state.step += 1
    assert differences(by_hand.state_dict()["model"], end["model"]) == []
    by_hand.close()


def test_a_queue_of_another_size_is_that_of_a_new_run_and_the_weights_stay(
    half: dict[str, Any], dataset: Dataset
) -> None:
    config = config_with(moco__queue_size=50)
    fresh = Pretraining(config, dataset.train.images, RUNTIME).state_dict()
    made = branched(half, fresh, config)
    assert torch.equal(made.state["model"]["queue"], fresh["model"]["queue"])
    assert int(made.state["model"]["queue_ptr"]) == 0
    rest = {k: v for k, v in made.state["model"].items() if "queue" not in k}
    assert differences(rest, {k: half["model"][k] for k in rest}) == []
    assert made.notices == ["the queue of 50 keys has another size than before and is filled anew"]


def test_the_optimizer_keeps_its_buffers_and_takes_the_new_settings(
    half: dict[str, Any], dataset: Dataset
) -> None:
    config = config_with(optim__weight_decay=0.25, optim__sgd_momentum=0.5)
    training = Pretraining(config, dataset.train.images, RUNTIME)
    training.load_state_dict(branched(half, training.state_dict(), config).state)
    (group,) = training.state.optimizer.param_groups
    assert (group["weight_decay"], group["momentum"]) == (0.25, 0.5)
    state = training.state_dict()
    assert differences(state["optimizer"]["state"], half["optimizer"]["state"]) == []
    assert differences(without(state["generators"]), without(half["generators"])) == []
    training.close()


def test_another_seed_has_streams_of_its_own(half: dict[str, Any], dataset: Dataset) -> None:
    config = config_with(runtime__seed=3)
    fresh = Pretraining(config, dataset.train.images, RUNTIME).state_dict()
    made = branched(half, fresh, config)
    assert differences(made.state["generators"], fresh["generators"]) == []
    assert differences(made.state["generators"], half["generators"]) != []
    assert "seed" in made.notices[0]


def test_with_another_batch_size_the_epochs_count(
    half: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    end, sink = go_on(half, config_with(optim__batch_size=4), dataset, tmp_path / "b.pt")
    assert end["step"] == 4 * 7  # 28 images
    assert min(step for step, key in sink.lines if key == "train/loss") == 2 * 7 + 1
    assert first_step(half, 7) == 14
    within = {**half, "step": 4}
    assert first_step(within, STEPS) == 4
    with pytest.raises(ConfigError, match=r"lies within epoch 2; another batch size needs"):
        check_start(within, config_with(optim__batch_size=4), "x@last")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model__dim": 16}, "model.dim is 16, and 8 in x@2, whose weights do not fit"),
        ({"model__encoder": "resnet18"}, "model.encoder is resnet18"),
        ({"model__mlp_head": True}, "model.mlp_head"),
        ({"data__limit": 20}, "goes on with the images that it began with"),
        ({"data__source": "shapes"}, "data.source is shapes"),
        ({"optim__epochs": 2}, "optim.epochs is 2, and x@2 has 2 epochs behind it"),
        ({"optim__stop_epoch": 1}, "optim.stop_epoch is 1"),
    ],
)
def test_what_the_state_cannot_take_is_refused(
    change: dict[str, Any], words: str, half: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        check_start(half, config_with(**change), "x@2")


@pytest.mark.parametrize(
    "change",
    [
        {"model__dropout": 0.0, "model__bn_splits": 4},
        {"data__holdout": 0.5, "monitor__knn_every": 0, "log__keep_every": 1},
        {"moco__temperature": 0.5, "moco__symmetric": False, "moco__momentum_schedule": "cosine"},
        {"augment__flip__enabled": False, "optim__schedule": "step", "optim__warmup_epochs": 3},
    ],
)
def test_everything_else_is_taken(
    change: dict[str, Any], half: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    assert check_start(half, config_with(**change), "x@2") == 2 * STEPS
    end, _ = go_on(half, config_with(**change), dataset, tmp_path / "b.pt")
    assert end["step"] == 4 * STEPS


def test_what_is_no_state_of_a_training_is_refused(half: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="x@2 holds no state of a training"):
        check_start({**half, "kind": "imported"}, config_with(), "x@2")
    for damage in ({"config": "{"}, {"config": 3}, {"step": None}, {"steps_per_epoch": 0}):
        with pytest.raises(DamagedFileError):
            check_start({**half, **damage}, config_with(), "x@2")


def test_a_checkpoint_of_an_earlier_version_lacks_settings_that_it_did_not_have(
    half: dict[str, Any],
) -> None:
    old = json.loads(half["config"])
    for key in ("model.mlp_head", "moco.shuffle_keys"):
        del old[key]
    state = {**half, "config": json.dumps(old)}
    assert check_start(state, config_with(), "x@2") == 2 * STEPS
    with pytest.raises(ConfigError, match=r"model\.mlp_head"):
        check_start(state, config_with(model__mlp_head=True), "x@2")
