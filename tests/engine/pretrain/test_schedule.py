"""The learning rate over the epochs."""

from __future__ import annotations

import math

import pytest

from engine.config.schema import OptimConfig
from engine.pretrain.schedule import learning_rate


def test_cosine_and_step_schedules_count_epochs_from_zero() -> None:
    cosine = OptimConfig(lr=0.06, epochs=200)
    assert learning_rate(cosine, 0) == 0.06
    assert learning_rate(cosine, 100) == pytest.approx(0.03)
    assert learning_rate(cosine, 199) == pytest.approx(0.03 * (1 + math.cos(math.pi * 0.995)))
    step = OptimConfig(lr=0.06, schedule="step", epochs=200)
    got = [learning_rate(step, e) for e in (0, 119, 120, 159, 160, 199)]
    assert got == pytest.approx([0.06, 0.06, 0.006, 0.006, 0.0006, 0.0006])
