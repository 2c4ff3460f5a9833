"""When the queue holds nothing but keys, against the queue itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch

from engine.config.moco_schema import MocoConfig
from engine.config.optim_schema import OptimConfig
from engine.config.queue_fill import steps_to_fill
from engine.config.schema import ModelConfig, PretrainConfig
from engine.models.moco import MoCo


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("size", [1, 7, 8, 9, 24, 25])
def test_after_so_many_steps_no_random_vector_is_left(size: int, symmetric: bool) -> None:
    moco = MocoConfig(queue_size=size, symmetric=symmetric)
    model = MoCo(ModelConfig(dim=4, bn_splits=1), moco)
    begun = model.queue.clone()
    steps = 0
    while (model.queue == begun).all(dim=1).any():
        model.enqueue(torch.full((8 if symmetric else 4, 4), 2.0))
        steps += 1
    config = PretrainConfig(moco=moco, optim=OptimConfig(batch_size=4))
    assert steps_to_fill(msgspec.to_builtins(config)) == steps


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"moco": 3, "optim": {}},
        {"moco": {"queue_size": "8"}, "optim": {"batch_size": 4}},
        {"moco": {"queue_size": 8}, "optim": {"batch_size": 0}},
        {"moco": {"queue_size": True}, "optim": {"batch_size": 4}},
    ],
)
def test_a_record_that_does_not_say(config: dict[str, Any]) -> None:
    assert steps_to_fill(config) == 0
