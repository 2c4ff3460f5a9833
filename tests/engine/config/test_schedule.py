"""The learning rate and the momentum of the key encoder over the steps."""

from __future__ import annotations

import math

import pytest

from engine.config.moco_schema import MocoConfig
from engine.config.optim_schema import OptimConfig
from engine.config.pretraining_key import plain, pretraining_key
from engine.config.resolve import build
from engine.config.schedule import key_momentum, learning_rate
from engine.config.schema import PretrainConfig
from engine.errors import ConfigError


def test_cosine_and_step_schedules_count_epochs_from_zero() -> None:
    cosine = OptimConfig(lr=0.06, epochs=200)
    assert learning_rate(cosine, 0, 10) == learning_rate(cosine, 9, 10) == 0.06
    assert learning_rate(cosine, 1000, 10) == pytest.approx(0.03)
    wanted = 0.03 * (1 + math.cos(math.pi * 0.995))
    assert learning_rate(cosine, 1999, 10) == pytest.approx(wanted)
    step = OptimConfig(lr=0.06, schedule="step", epochs=200)
    got = [learning_rate(step, e, 1) for e in (0, 119, 120, 159, 160, 199)]
    assert got == pytest.approx([0.06, 0.06, 0.006, 0.006, 0.0006, 0.0006])


def test_a_warm_up_rises_by_equal_parts_and_the_cosine_takes_the_rest() -> None:
    optim = OptimConfig(lr=0.5, epochs=6, warmup_epochs=2)
    got = [learning_rate(optim, step, 5) for step in range(30)]
    assert got[:10] == pytest.approx([0.05 * i for i in range(1, 11)])
    for epoch in range(2, 6):
        done = (epoch - 2) / 4  # of the four epochs behind the warm-up
        wanted = 0.5 * (1 + math.cos(math.pi * done)) / 2
        assert got[5 * epoch : 5 * epoch + 5] == pytest.approx([wanted] * 5)
    assert got[10] == 0.5
    drops = OptimConfig(lr=0.5, epochs=6, warmup_epochs=2, schedule="step", milestones=(4,))
    assert [learning_rate(drops, 5 * e, 5) for e in (2, 3, 4)] == pytest.approx([0.5, 0.5, 0.05])


def test_the_momentum_rises_from_m_to_one_along_half_a_cosine() -> None:
    moco = MocoConfig(momentum=0.9, momentum_schedule="cosine")
    optim = OptimConfig(epochs=4, stop_epoch=2)  # an earlier end leaves the schedule as it is
    got = [key_momentum(moco, optim, step, 5) for step in range(21)]
    # BYOL, section 3.2: 1 - (1 - tau) (cos(pi k / K) + 1) / 2
    assert got == pytest.approx(
        [1 - 0.1 * (math.cos(math.pi * k / 20) + 1) / 2 for k in range(21)], abs=1e-15
    )
    assert got[0] == pytest.approx(0.9)
    assert got[20] == 1.0
    assert got == sorted(got)
    constant = MocoConfig(momentum=0.9)
    assert {key_momentum(constant, optim, step, 5) for step in range(21)} == {0.9}


def test_a_run_without_them_keeps_the_key_that_it_had() -> None:
    flat = plain(PretrainConfig())
    old = {k: v for k, v in flat.items() if not k.endswith(("warmup_epochs", "momentum_schedule"))}
    assert len(old) == len(flat) - 2
    assert pretraining_key(flat) == pretraining_key(old)
    for change in ({"optim.warmup_epochs": 1}, {"moco.momentum_schedule": "cosine"}):
        assert pretraining_key(flat | change) != pretraining_key(flat)
    for change in ({"log.keep_every": 3}, {"log.keep_last": 2}):
        assert pretraining_key(flat | change) == pretraining_key(flat)


@pytest.mark.parametrize("epochs", [3, 4])
def test_a_warm_up_must_be_shorter_than_the_schedule(epochs: int) -> None:
    values = {"optim.epochs": 3, "optim.warmup_epochs": epochs}
    with pytest.raises(ConfigError, match="the warm-up must be shorter"):
        build(PretrainConfig, values)
