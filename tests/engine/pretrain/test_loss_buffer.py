"""Losses on their way from the device: in order, complete, and at most a block late."""

from __future__ import annotations

import pytest
import torch

from engine.pretrain.loss_buffer import Loss, LossBuffer


class Device:
    """Steps that take a time each, on a clock of their own."""

    def __init__(self, seconds: float, *, ahead: bool) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.losses = LossBuffer(torch.device("cpu"), ahead=ahead, clock=lambda: self.now)
        self.told: list[Loss] = []
        self.held: list[int] = []  # steps whose losses were not told, after each step

    def work(self, first: int, last: int) -> None:
        for step in range(first, last + 1):
            self.now += self.seconds
            self.losses.add(step, 0.5 / step, torch.tensor(step * 1.5))
            if self.losses.full:
                self.told += self.losses.read_block()
            self.held.append(step - len(self.told))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.02, 1.0])
def test_losses_come_in_order_and_none_is_lost(seconds: float, ahead: bool) -> None:
    device = Device(seconds, ahead=ahead)
    device.work(1, 11)
    device.told += device.losses.read_all()
    assert device.told == [Loss(step, 0.5 / step, step * 1.5) for step in range(1, 12)]
    assert device.losses.read_all() == []
    assert device.losses.read_block() == []


def test_without_running_ahead_every_loss_is_told_at_once() -> None:
    device = Device(0.001, ahead=False)
    device.work(1, 50)
    assert set(device.held) == {0}


@pytest.mark.parametrize(
    ("seconds", "block"), [(0.001, 50), (0.0001, 64), (0.036, 1), (0.29, 1), (0.01, 5)]
)
def test_what_is_under_way_takes_a_tenth_of_a_second_or_two_steps(
    seconds: float, block: int
) -> None:
    device = Device(seconds, ahead=True)
    device.work(1, 1000)
    assert device.losses.block == block
    assert max(device.held) <= 2 * block
    assert max(device.held) * seconds <= max(0.1 + seconds, 2 * seconds) + 1e-9


def test_blocks_that_an_epoch_cuts_short_become_shorter_too() -> None:
    device = Device(0.001, ahead=True)
    device.work(1, 500)
    device.seconds = 0.02
    for epoch in range(60):  # of 8 steps each
        device.work(501 + 8 * epoch, 508 + 8 * epoch)
        device.told += device.losses.read_block()
    assert device.losses.block <= 3


def test_a_step_that_becomes_slow_and_a_pause_that_is_no_step() -> None:
    device = Device(0.001, ahead=True)
    device.work(1, 500)
    assert device.losses.block == 50
    device.told += device.losses.read_all()
    device.now += 100.0  # a kNN
    device.work(501, 1000)
    assert device.losses.block == 50
    device.seconds = 0.01
    device.work(1001, 1500)
    assert device.losses.block == 5
