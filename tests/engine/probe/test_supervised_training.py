from typing import Any

import torch

from engine.config.baselines import SupervisedConfig
from engine.config.schema import ModelConfig
from engine.probe.supervised_training import (
    Moves,
    SupervisedData,
    SupervisedTraining,
    calibrate_without_dropout,
)
from engine.seeds import default_generator
from engine.sink import NullSink

CPU = torch.device("cpu")
MEAN, STD = torch.full((3,), 0.5), torch.full((3,), 0.25)


def some_images(n, seed=0, size=32):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 3, size, size), generator=g, dtype=torch.uint8)


def bright_and_dark(n=48, seed=0):
    """Two classes that a net learns in a few steps."""
    targets = torch.arange(n) % 2
    images = some_images(n, seed) // 4 + (targets * 180).to(torch.uint8).view(-1, 1, 1, 1)
    return images, targets


def some_data(images, targets, fit=None, validate=None):
    n = len(images)
    fit = torch.arange(0, n - 12) if fit is None else fit
    validate = torch.arange(n - 12, n) if validate is None else validate
    return SupervisedData(images, targets, 2, fit, validate, MEAN, STD)


def test_an_image_is_moved_mirrored_and_reflected_at_its_edges():
    images = some_images(200)
    got = Moves.draw(200, 32, 32, torch.Generator().manual_seed(0)).apply(images)
    assert got.shape == images.shape
    assert got.is_contiguous(memory_format=torch.channels_last)
    padded = torch.nn.functional.pad(images.float(), (4, 4, 4, 4), mode="reflect").byte()
    seen = set()
    for i in range(200):
        found = []
        for y in range(9):
            for x in range(9):
                window = padded[i, :, y : y + 32, x : x + 32]
                if torch.equal(got[i], window):
                    found.append((y, x, False))
                if torch.equal(got[i], window.flip(2)):
                    found.append((y, x, True))
        assert len(found) == 1
        seen.update(found)
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(9))
    flips = sum(flip for _, _, flip in seen)
    assert 0.35 < flips / len(seen) < 0.65


def test_moving_draws_from_its_generator_alone_and_leaves_the_images():
    images = some_images(8)
    before, state = images.clone(), torch.get_rng_state()
    a, b = (Moves.draw(8, 32, 32, torch.Generator().manual_seed(5)).apply(images) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(images, before)
    assert torch.equal(state, torch.get_rng_state())


def test_the_net_is_evaluated_with_statistics_without_dropout():
    images, targets = bright_and_dark(96)
    data = some_data(images, targets)
    with default_generator(0, CPU):
        training = SupervisedTraining(
            data, ModelConfig(dropout=0.5), SupervisedConfig(), rows=torch.arange(96), lr=0.02,
            epochs=4, batch_size=16, seed=0, sink=NullSink(),
        )  # fmt: skip
        assert len(list(training.train())) == 4
    net: Any = training.net
    calibrate_without_dropout(net, torch.arange(0, 96, 2), data, NullSink())
    assert not any(module.training for module in net.modules())
    x = (images[::2] / 255 - 0.5) / 0.25
    for index in (1, 6, 11):  # BatchNorm in the three blocks of the backbone
        with torch.no_grad():
            before = torch.nn.Sequential(*list(net[0])[:index])(x)  # eval mode: no dropout
        expected, layer = before.mean((0, 2, 3)), net[0][index]
        torch.testing.assert_close(layer.running_mean, expected, atol=5e-3, rtol=1e-2)
        expected = before.var((0, 2, 3))
        torch.testing.assert_close(layer.running_var, expected, atol=5e-3, rtol=1e-2)
