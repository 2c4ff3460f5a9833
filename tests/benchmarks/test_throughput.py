"""The arithmetic of the speed benchmark, and its rewritten notebook pipeline: sizes and step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from engine.config.resolve import resolve
from engine.config.schema import ModelConfig, PretrainConfig

from .speed import curves, notebook, roofline, timing
from .speed.timing import Figure, Lap


@pytest.fixture(autouse=True)
def _generator_as_it_was() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def convolution(inputs: int, outputs: int, side: int) -> int:
    """Operations of a 3x3 convolution to ``side`` x ``side`` pixels, by its definition."""
    return 2 * 9 * inputs * outputs * side * side


def test_operations_of_the_convnet_agree_with_a_count_by_hand() -> None:
    layers = [convolution(3, 32, 30), convolution(32, 64, 13), convolution(64, 128, 4)]
    head = 2 * 512 * 512
    forward = sum(layers) + head
    # backward: towards the weights and towards the input, but the images need no gradient
    backward = 2 * forward - layers[0]
    assert roofline.encoder_operations(ModelConfig(dim=512)) == (forward, forward + backward)


def test_operations_of_a_step_count_both_directions_and_the_gradient_of_the_logits() -> None:
    config = resolve(PretrainConfig, preset_name="notebook")
    one_way = resolve(PretrainConfig, preset_name="notebook", extra={"moco.symmetric": False})
    counted = roofline.operations(config)
    forward, both = roofline.encoder_operations(config.model)
    assert counted.encoders == 1024 * (forward + both)
    assert counted.logits == 2 * (1024 * 4096 * 512) * 2
    half = roofline.operations(one_way)
    assert (2 * half.encoders, 2 * half.logits) == (counted.encoders, counted.logits)


def test_bytes_are_those_that_operations_read_and_write() -> None:
    a, b = torch.ones(10, 10), torch.ones(10, 10)
    with roofline.ByteCounter() as counter:
        c = a + b  # two read, one written
    assert counter.bytes == 3 * 400
    with roofline.ByteCounter() as counter:
        c.view(100)[5:].add_(1.0)  # the views move nothing; 95 values read and written
    assert counter.bytes == 2 * 95 * 4
    with roofline.ByteCounter() as counter:
        c.copy_(a)  # what is overwritten is not read
        c.zero_()
        torch.empty(1000)
    assert counter.bytes == 2 * 400 + 400
    with roofline.ByteCounter() as counter:
        torch._foreach_lerp_([a, a.clone()], [b, b], 0.5)
    assert counter.bytes == 2 * 400 + (4 * 400 + 2 * 400)  # the clone, then the update


def test_the_least_bytes_of_a_small_configuration() -> None:
    config = resolve(
        PretrainConfig,
        preset_name="notebook",
        extra={"optim.batch_size": 16, "moco.queue_size": 100, "model.dim": 8},
    )
    images, views = 16 * 3072, 3 * 32 * 3072 * 2
    assert roofline.least_bytes(config, 1000, 2) == (
        images + views + 11 * 4000 + (100 + 32) * 8 * 4
    )


def test_growth_is_the_exponent_between_neighbours() -> None:
    sizes = [1.0, 2.0, 8.0]
    assert timing.growth(sizes, [5.0, 5.0, 5.0]) == [None, 0.0, 0.0]
    square = timing.growth(sizes, [3.0, 12.0, 192.0])
    assert square[0] is None
    assert square[1:] == pytest.approx([2.0, 2.0])


def test_ratios_are_taken_turn_by_turn() -> None:
    # the machine is three times slower in the second turn: the ratio is not touched by it
    ours = [Lap(10, 1.0, 2.0), Lap(10, 3.0, 2.0)]
    theirs = [Lap(2, 1.0, 1.0), Lap(2, 3.0, 1.0)]
    assert timing.ratios(ours, theirs, timing.wall) == Figure(5.0, 5.0, 5.0)
    assert timing.ratios(ours, theirs, timing.work) == Figure(2.5, 2.5, 2.5)


def test_a_lap_counts_its_steps() -> None:
    steps = []
    turn = timing.lap(lambda: steps.append(1), torch.device("cpu"), seconds=0.0, least=3)
    assert turn.steps == len(steps) == 3


def test_turns_alternate_and_close_what_they_open() -> None:
    heard: list[str] = []

    class Way:
        def __init__(self, name: str) -> None:
            self.name = name

        def open(self) -> None:
            heard.append(f"open {self.name}")

        def step(self) -> None:
            heard.append(self.name)

        def close(self) -> None:
            heard.append(f"close {self.name}")

    ways = {"a": Way("a"), "b": Way("b")}
    cpu = torch.device("cpu")
    timing.take_turns(ways, cpu, repeats=2, seconds=0.0, least=1, say=lambda _text: None)
    assert heard == ["open a", "a", "close a", "open b", "b", "close b"] * 2


def test_the_notebooks_views_are_normalised_images() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    view_1, view_2 = notebook.Pairs(images, notebook.TwoViews())[2]
    low = [(0.0 - m) / s for m, s in zip(notebook.MEAN, notebook.STD, strict=True)]
    high = [(1.0 - m) / s for m, s in zip(notebook.MEAN, notebook.STD, strict=True)]
    for view in (view_1, view_2):
        assert view.shape == (3, 32, 32)
        assert view.dtype == torch.float32
        for channel, least, most in zip(view, low, high, strict=True):
            assert least - 1e-5 <= float(channel.min()) <= float(channel.max()) <= most + 1e-5
    assert not torch.equal(view_1, view_2)


def test_the_notebooks_net_has_its_size_and_its_step_learns() -> None:
    assert sum(p.numel() for p in notebook.convnet().parameters()) == 356_128
    step = notebook.Step(torch.device("cpu"))
    queue, key = step.queue.clone(), [p.clone() for p in step.encoder_k.parameters()]
    x = torch.randn(8, 3, 32, 32)
    before = [p.clone() for p in step.encoder_q.parameters()]
    step(x, x + 0.1)
    assert all(
        not torch.equal(p, q) for p, q in zip(step.encoder_q.parameters(), before, strict=True)
    )
    # both encoders begin alike, so the first momentum update changes nothing; the second does
    step(x, x + 0.1)
    assert any(not torch.equal(p, q) for p, q in zip(step.encoder_k.parameters(), key, strict=True))
    assert step.pointer == 32  # keys of both views of two steps
    assert not torch.equal(step.queue[:, :32], queue[:, :32])
    assert torch.equal(step.queue[:, 32:], queue[:, 32:])
    norms = [m for m in step.encoder_q.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 3


def test_the_curves_are_judged_by_the_spread_of_the_seeds() -> None:
    fast = {0: 40.0, 1: 41.0, 2: 42.5}
    near = curves.verdict(fast, {0: 41.0, 1: 42.0}, untrained=30.0)
    assert near["difference"] == pytest.approx(-1.0)
    assert near["spread"] == pytest.approx(2.5)
    assert near["within"]
    assert near["risen"]
    far = curves.verdict(fast, {0: 44.0}, untrained=38.0)
    assert not far["within"]
    assert not far["risen"]  # 3.2 points
