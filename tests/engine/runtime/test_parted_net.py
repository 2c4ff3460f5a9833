"""A batch shared out among threads against the whole in float64, and against itself."""

from __future__ import annotations

import copy
import itertools
import math
import statistics
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config.schema import ModelConfig
from engine.evaluate.random_init import set_statistics
from engine.models.encoder import build_encoder
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.library import LEVELS, library
from engine.runtime.parted_net import PartedNet

from ..gradients import grad

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the kernels were not built")
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()

every_level = pytest.mark.parametrize("level", AVAILABLE)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def some_net(kind: str = "convnet", dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_encoder(ModelConfig(encoder=kind, dropout=dropout, bn_splits=1))
        net = nn.Sequential(encoder.backbone, nn.Linear(encoder.feature_dim, 5))
    return net.to(memory_format=torch.channels_last).train()


def some_batch(n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 32, 32, generator=g), torch.arange(n) % 5


def parted(net: nn.Sequential, level: str, count: int, batch_size: int = 1 << 20) -> PartedNet:
    torch.set_num_threads(count)
    return PartedNet(net[0], net[1], kernels=level, batch_size=batch_size)


def direction_error(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact).norm() / exact.norm())


@every_level
@pytest.mark.parametrize(("kind", "count"), [("convnet", 1), ("convnet", 3), ("resnet18", 2)])
def test_gradients_and_statistics_are_those_of_float64(level: str, kind: str, count: int) -> None:
    # In float32 a unit of ReLU beside zero may open that is closed in float64, or another of four
    # pixels win, in torch as well: up to hundredths of a gradient. So medians of three are judged.
    ours, torchs = zip(*(errors_of(level, kind, count, seed) for seed in (1, 2, 3)), strict=True)
    for a, b in zip(zip(*ours, strict=True), zip(*torchs, strict=True), strict=True):
        assert statistics.median(a) < max(2e-5, 3 * statistics.median(b))
        assert max(a) < 5e-2


def errors_of(level: str, kind: str, count: int, seed: int) -> tuple[list[float], list[float]]:
    """Of each gradient, how far ours and torch's in float32 are from that of float64."""
    net, (images, targets) = some_net(kind), some_batch(17, seed)
    exact = copy.deepcopy(net).double()
    ordinary = copy.deepcopy(net)
    with parted(net, level, count) as ours:
        loss = ours.backward(lambda rows: images[rows], targets)
    expected = F.cross_entropy(exact(images.double()), targets)
    torch.autograd.backward(expected)
    torch.autograd.backward(F.cross_entropy(ordinary(images), targets))
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    for kept, wanted in zip(net.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(kept, wanted.to(kept.dtype), rtol=1e-5, atol=1e-6)

    def off(other: nn.Module) -> list[float]:
        pairs = zip(other.parameters(), exact.parameters(), strict=True)
        return [direction_error(grad(a), grad(b)) for a, b in pairs]

    return off(net), off(ordinary)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_same_number_of_threads_gives_the_same_bits(count: int) -> None:
    images, targets = some_batch(26)
    found = []
    for _ in range(2):
        net = some_net(dropout=0.3)
        with parted(net, AVAILABLE[-1], count) as ours:
            torch.manual_seed(4)
            losses = [ours.backward(lambda rows: images[rows], targets) for _ in range(2)]
        assert not torch.equal(*losses)  # other units dropped out
        found.append([*losses, *(p.grad for p in net.parameters()), *net.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class Recording(nn.Linear):
    """Keeps the features that it is given, of every part in turn."""

    def __init__(self) -> None:
        super().__init__(512, 5)
        self.features: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.features.append(x.detach())
        return super().forward(x)


def test_dropout_has_its_rate_in_every_part_and_every_part_and_step_drops_others() -> None:
    net, after, (images, targets) = some_net(dropout=0.75), Recording(), some_batch(32)
    for module in net.modules():
        if isinstance(module, SplitBatchNorm2d):  # every unit is 1 before dropout
            nn.init.zeros_(module.weight)
            nn.init.ones_(module.bias)
    torch.set_num_threads(2)
    with PartedNet(net[0], after, kernels=AVAILABLE[-1], batch_size=32) as ours:
        for _ in range(2):
            ours.backward(lambda rows: images[rows], targets)
    assert [len(features) for features in after.features] == [16] * 4
    closed = 0.75**4  # all four inputs of a pooled unit
    for features in after.features:
        share, n = float((features == 0).double().mean()), features.numel()
        assert abs(share - closed) < 5 * math.sqrt(closed * (1 - closed) / n)
        assert set(features.unique().tolist()) == {0.0, 4.0}
    for a, b in itertools.combinations(after.features, 2):
        assert not torch.equal(a, b)


def test_statistics_alone_draw_nothing_and_are_those_of_the_ordinary_way() -> None:
    images, _ = some_batch(16)
    net, ordinary = some_net(dropout=0.5), some_net(dropout=0.5)
    state = torch.get_rng_state()
    batches = [images[:8], images[8:]]
    with parted(net, AVAILABLE[-1], 2, batch_size=16) as ours:
        set_statistics(net, batches.__getitem__, 2, forward=ours.forward)
    set_statistics(ordinary, batches.__getitem__, 2)
    assert torch.equal(state, torch.get_rng_state())
    for a, b in zip(net.buffers(), ordinary.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_small_batches_take_fewer_threads() -> None:
    images, targets = some_batch(9)
    net, other = some_net(), some_net()
    with parted(net, AVAILABLE[-1], 4, batch_size=9) as ours:
        loss = ours.backward(lambda rows: images[rows], targets)
    with parted(other, AVAILABLE[-1], 1) as theirs:
        assert torch.equal(theirs.backward(lambda rows: images[rows], targets), loss)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_part_is_raised_and_the_next_batch_works(failing: int) -> None:
    net, (images, targets) = some_net(), some_batch(16)

    def inputs(rows: slice) -> Tensor:
        if (rows.start > 0) == failing:
            raise MemoryError("none left")
        return images[rows]

    with parted(net, AVAILABLE[-1], 2) as ours:
        with pytest.raises(MemoryError, match="none left"):
            ours.backward(inputs, targets)
        assert bool(ours.backward(lambda rows: images[rows], targets).isfinite())
