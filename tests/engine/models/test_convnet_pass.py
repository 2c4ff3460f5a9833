"""The ConvNet's pass that is written out, against autograd in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from engine.models.convnet import ConvNet
from engine.models.convnet_pass import ConvNetPass, Room
from engine.models.split_batchnorm import SplitBatchNorm2d
from engine.native.library import LEVELS, library

from ..gradients import grad

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the kernels were not built")
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()

every_level = pytest.mark.parametrize("level", AVAILABLE)
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def net_of(
    dtype: torch.dtype, dropout: float = 0.0, size: int = 32, feature_side: int = 0
) -> ConvNet:
    torch.manual_seed(0)
    net = ConvNet(dropout, 1, size, feature_side)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            layer.to(dtype=dtype).to(memory_format=torch.channels_last)
    return net


def run(
    net: ConvNet, images: Tensor, towards: Tensor, level: str, room: Room | None = None
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Features, statistics and gradients of one group."""
    dtype = next(net.parameters()).dtype
    one = ConvNetPass(net, level, dtype, room or Room())
    statistics = torch.full((2, sum(one.channels)), torch.nan)
    with torch.no_grad():
        features = one.forward(images, list(range(one.places)), statistics)
        one.backward(towards)
        return features, statistics, one.take_gradients()


def of_length(tensor: Tensor, expected: Tensor) -> float:
    assert tensor.shape == expected.shape
    return float((tensor.double() - expected).norm() / expected.norm())


@every_level
@both_dtypes
# An odd number of images has no pairs; beyond 33 pixels no block is as narrow as the kernels for
# the gradient of a convolution's input take.
@pytest.mark.parametrize(
    ("n", "size", "side"),
    [(16, 32, 0), (5, 32, 2), (4, 33, 0), (3, 64, 0), (3, 64, 2), (2, 97, 0), (2, 130, 3)],
)
def test_it_is_autograd_in_float64(
    level: str, dtype: torch.dtype, n: int, size: int, side: int
) -> None:
    net = net_of(dtype, size=size, feature_side=side)
    images, towards = torch.randn(n, 3, size, size), torch.randn(n, net.feature_dim)
    exact = copy.deepcopy(net).double()
    expected = exact(images.to(dtype).double())
    expected.backward(towards.double())
    features, statistics, gradients = run(net, images, towards, level)
    loose = dtype == torch.bfloat16
    assert features.dtype == dtype
    assert of_length(features, expected.detach()) < (0.02 if loose else 1e-5)
    for ours, p in zip(gradients, exact.parameters(), strict=True):
        assert ours.dtype == torch.float32
        # Rounded to 8 bits, some of four inputs that are nearly equal change places in pooling.
        assert of_length(ours, grad(p)) < (0.35 if loose else 1e-4)
    # running = 0.9 of before (mean 0, variance 1) + 0.1 of the group's
    norms = [layer for layer in exact if isinstance(layer, SplitBatchNorm2d)]
    means = [norm.running_mean / 0.1 for norm in norms]
    variances = [(norm.running_var - 0.9) / 0.1 for norm in norms]
    near = 0.02 if loose else 1e-5
    torch.testing.assert_close(statistics[0].double(), torch.cat(means), rtol=near, atol=near)
    torch.testing.assert_close(statistics[1].double(), torch.cat(variances), rtol=near, atol=near)
    own = [layer for layer in net if isinstance(layer, SplitBatchNorm2d)]
    assert not any(bool(norm.running_mean.any()) for norm in own)  # its own stay


@every_level
@both_dtypes
def test_groups_add_up_and_leave_nothing_behind(level: str, dtype: torch.dtype) -> None:
    net, room = net_of(dtype, dropout=0.3), Room()
    groups = [(torch.randn(n, 3, 32, 32), torch.randn(n, 512)) for n in (6, 4)]
    alone = [run(net, *group, level) for group in groups]
    both = ConvNetPass(net, level, dtype, room)
    with torch.no_grad():
        for (images, towards), (features, _, _) in zip(groups, alone, strict=True):
            statistics = torch.empty(2, sum(both.channels))
            assert torch.equal(both.forward(images, [0, 1, 2], statistics), features)
            both.backward(towards)
        for summed, first, second in zip(
            both.take_gradients(), alone[0][2], alone[1][2], strict=True
        ):
            assert of_length(summed, first.double() + second.double()) < 1e-5
    # Memory that another net left values in, and a net whose gradients were taken, begin anew.
    other = run(net, *groups[0], level, room)
    assert all(torch.equal(a, b) for a, b in zip(other[2], alone[0][2], strict=True))


@every_level
def test_seeds_drop_other_units_and_the_same_ones_again(level: str) -> None:
    net = net_of(torch.float32, dropout=0.3)
    images = torch.randn(8, 3, 32, 32)
    one = ConvNetPass(net, level, torch.float32, Room())
    statistics = torch.empty(2, sum(one.channels))
    with torch.no_grad():
        first = one.forward(images, [1, 2, 3], statistics)
        assert torch.equal(one.forward(images, [1, 2, 3], statistics), first)
        for seeds in ([4, 2, 3], [1, 4, 3], [1, 2, 4]):
            assert not torch.allclose(one.forward(images, seeds, statistics), first)


@every_level
def test_without_dropout_no_seed_is_needed(level: str) -> None:
    net = net_of(torch.float32)
    images = torch.randn(4, 3, 32, 32)
    one = ConvNetPass(net, level, torch.float32, Room())
    statistics = torch.empty(2, sum(one.channels))
    with torch.no_grad():
        features = one.forward(images, (), statistics)
        assert torch.equal(one.forward(images, [1, 2, 3], statistics), features)


@every_level
@both_dtypes
def test_images_may_be_every_third_of_a_batch(level: str, dtype: torch.dtype) -> None:
    net = net_of(dtype)
    batch = torch.randn(9, 3, 32, 32).to(dtype).contiguous(memory_format=torch.channels_last)
    towards = torch.randn(3, 512)
    ours, alone = (run(net, images, towards, level) for images in (batch[1::3], batch[[1, 4, 7]]))
    assert torch.equal(ours[0], alone[0])
    assert all(torch.equal(a, b) for a, b in zip(ours[2], alone[2], strict=True))
