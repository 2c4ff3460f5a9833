"""Losses on their way from the device: in order, complete, and at most a block late."""

from __future__ import annotations

import pytest
import torch

from engine.pretrain.loss_buffer import Loss, LossBuffer


@pytest.mark.parametrize("block", [1, 2, 3, 50])
def test_losses_come_in_order_and_none_is_lost(block: int) -> None:
    losses = LossBuffer(torch.device("cpu"), block)
    told: list[Loss] = []
    for step in range(1, 12):
        losses.add(step, 0.5 / step, torch.tensor(step * 1.5))
        if losses.full:
            told += losses.read_block()
            held = step - len(told)
            assert held == (0 if block == 1 else block)
    told += losses.read_all()
    assert told == [Loss(step, 0.5 / step, step * 1.5) for step in range(1, 12)]
    assert losses.read_all() == []
    assert losses.read_block() == []
