"""Which way of a step is chosen, and that the two ways of a CPU agree."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config import own_code
from engine.data.dataset import Dataset
from engine.native.library import LEVELS, library
from engine.pretrain import pretraining
from engine.pretrain.groupwise_step import GroupwiseStep
from engine.pretrain.plain_step import PlainStep
from engine.pretrain.pretraining import Pretraining, choose_step
from engine.pretrain.step_choice import Capture
from engine.pretrain.step_wrappers import CapturedStep, FusedStep

from ..tiny import RUNTIME, Standin, config_with, moved, noise
from ..trees import differences


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.mark.parametrize(
    ("splits", "symmetric", "threads", "expected"),
    [
        (2, True, 4, GroupwiseStep),  # both views have groups of their own
        (2, True, 5, PlainStep),
        (2, False, 2, GroupwiseStep),
        (2, False, 3, PlainStep),
        (1, True, 2, GroupwiseStep),
        (1, False, 2, PlainStep),
    ],
)
def test_a_cpu_takes_groups_as_long_as_each_thread_has_one(
    splits: int, symmetric: bool, threads: int, expected: type, dataset: Dataset
) -> None:
    config = config_with(model__bn_splits=splits, moco__symmetric=symmetric)
    runtime = dataclasses.replace(RUNTIME, threads=threads)
    training = Pretraining(config, dataset.train.images, runtime)
    assert type(training.compute_step) is expected
    assert 0.0 < float(training.advance()) < 20.0
    training.close()


@pytest.mark.parametrize(
    ("capture", "records", "expected"),
    [
        ("auto", True, [CapturedStep, PlainStep]),
        ("off", False, [PlainStep]),
        ("fused", True, [CapturedStep, FusedStep, PlainStep]),
        ("fused", False, [FusedStep, PlainStep]),
    ],
)
def test_where_steps_are_static_the_graph_goes_around_the_compiler_around_the_plain_step(
    capture: Capture,
    records: bool,
    expected: list[type],
    dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
    config = config_with(runtime__capture=capture)
    state = Pretraining(config, dataset.train.images, RUNTIME).state
    assert state.static
    step: Any = choose_step(state, Standin() if records else None, capture)
    found = [step]
    while hasattr(found[-1], "inner"):
        found.append(found[-1].inner)
    assert [type(each) for each in found] == expected
    assert step.kind == "plain"  # nothing is compiled or recorded before prepare


def test_a_groupwise_step_is_the_plain_step_up_to_rounding(dataset: Dataset) -> None:
    """Views, loss, update, momentum encoder, queue and generators, without dropout."""
    config = config_with(model__dropout=0.0)
    ours = Pretraining(config, dataset.train.images, RUNTIME)
    plain = Pretraining(config, dataset.train.images, RUNTIME)
    assert isinstance(ours.compute_step, GroupwiseStep)
    plain.close()
    plain.compute_step = PlainStep(plain.state)
    for _ in range(3):
        plain.load_state_dict(copy.deepcopy(ours.state_dict()))
        loss, update = moved(ours)
        expected, wanted = moved(plain)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert float((update - wanted).norm()) < 1e-4 * float(wanted.norm())
        one, other = ours.state_dict(), plain.state_dict()
        for name in ("augment", "shuffle"):
            assert differences(one["generators"][name], other["generators"][name]) == []
        for name, value in one["model"].items():
            assert torch.allclose(value, other["model"][name], atol=1e-4), name
    ours.close()


OWN = """
from torch import nn


class Flat(nn.Sequential):
    def __init__(self, config):
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, 12), nn.ReLU())


class Normed(nn.Sequential):
    def __init__(self, config):
        super().__init__(nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
"""


@pytest.mark.parametrize("name", ["Flat", "Normed"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_an_encoder_of_ones_own_is_trained_by_the_plain_step(
    name: str,
    bfloat16: bool,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other layers than convolutions are not cast group by group, and their buffers would stay."""
    (tmp_path / "own_nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own_code, "_named", {f"own_nets:{name}"})
    runtime = dataclasses.replace(RUNTIME, bfloat16=bfloat16)
    config = config_with(model__encoder=f"own_nets:{name}")
    training = Pretraining(config, dataset.train.images, runtime)
    encoder = training.state.model.encoder_q
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    losses = [float(training.advance()) for _ in range(2)]
    assert type(training.compute_step) is PlainStep
    assert all(0 < loss < 100 for loss in losses)
    after = encoder.state_dict()
    assert all(not torch.equal(after[key], value) for key, value in before.items())
    training.close()


@pytest.mark.skipif(library() is None, reason="the kernels were not built")
def test_kernels_in_c_compute_the_step_and_a_run_repeats_with_them(dataset: Dataset) -> None:
    """They agree with the step without them, whatever the format of the images in memory."""
    config = config_with(model__dropout=0.0)
    kernels = library()
    assert kernels is not None
    native = dataclasses.replace(RUNTIME, kernels=LEVELS[kernels.moco_levels() - 1])
    images = dataset.train.images
    other_format = images.contiguous(memory_format=torch.channels_last)
    ways = [
        Pretraining(config, images, RUNTIME),
        Pretraining(config, images, native),
        Pretraining(config, images, native),
        Pretraining(config, other_format, native),
    ]
    assert [way.compute_step.kind for way in ways] == ["groupwise", "native", "native", "native"]
    losses = [[float(way.advance()) for _ in range(6)] for way in ways]
    assert losses[1] == losses[2]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0] == pytest.approx(losses[3], rel=1e-3)
    for one, two in zip(
        ways[1].state.model.parameters(), ways[2].state.model.parameters(), strict=True
    ):
        assert torch.equal(one, two)
    for way in ways:
        way.close()


@pytest.mark.parametrize("way", ["plain", "groupwise", "captured"])
def test_rate_and_momentum_of_every_step_are_those_of_their_schedules(
    way: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the weights before and after each step, and the formulas, in float64."""
    if way == "captured":
        monkeypatch.setattr(pretraining, "recorder_for", lambda *_: Standin())
    threads = 64 if way == "plain" else 1  # more than there are groups to share
    training = Pretraining(
        config_with(
            optim__warmup_epochs=2,
            optim__sgd_momentum=0.0,
            optim__weight_decay=0.0,
            moco__momentum=0.5,
            moco__momentum_schedule="cosine",
        ),
        dataset.train.images,
        dataclasses.replace(RUNTIME, threads=threads),
    )
    per_epoch, epochs, model = training.steps_per_epoch, 4, training.state.model
    queries, keys = list(model.encoder_q.parameters()), list(model.encoder_k.parameters())
    for step in range(per_epoch * epochs):
        q = [p.detach().double() for p in queries]
        k = [p.detach().double() for p in keys]
        training.advance()
        momentum = 1 - 0.5 * (math.cos(math.pi * step / (per_epoch * epochs)) + 1) / 2
        for old, toward, new in zip(k, q, keys, strict=True):
            wanted = momentum * old + (1 - momentum) * toward
            torch.testing.assert_close(new.double(), wanted, rtol=1e-6, atol=1e-7)
        epoch = step // per_epoch
        rate = 0.06 * (1 + math.cos(math.pi * (epoch - 2) / 2)) / 2
        if epoch < 2:
            rate = 0.06 * (step + 1) / (2 * per_epoch)
        # SGD without momentum: the weights move by the rate times the gradient.
        for old, new in zip(q, queries, strict=True):
            assert new.grad is not None
            wanted = old - rate * new.grad.double()
            torch.testing.assert_close(new.detach().double(), wanted, rtol=1e-6, atol=1e-7)
    kinds = ("groupwise", "native") if way == "groupwise" else (way,)
    assert training.compute_step.kind in kinds
    training.close()


def test_the_schedules_go_on_from_a_resume_point_to_the_same_bits(dataset: Dataset) -> None:
    values = {"optim__warmup_epochs": 2, "moco__momentum_schedule": "cosine"}
    images = dataset.train.images
    whole, part = (Pretraining(config_with(**values), images, RUNTIME) for _ in range(2))
    start = copy.deepcopy(whole.state_dict())
    part.load_state_dict(start)
    for _ in range(4):
        part.advance()
    between = copy.deepcopy(part.state_dict())
    whole.load_state_dict(start)
    for _ in range(9):
        whole.advance()
    resumed = Pretraining(config_with(**values), images, RUNTIME)
    resumed.load_state_dict(between)
    for _ in range(5):
        resumed.advance()
    assert differences(resumed.state_dict(), whole.state_dict()) == []
