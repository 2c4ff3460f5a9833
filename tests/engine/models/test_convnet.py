"""What the notebook's ConvNet is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.config.models.convnet import feature_width, last_side
from engine.models.convnet import ConvNet, MaxPool2d

from ..gradients import grad


@pytest.mark.parametrize("side", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [32, 33, 38, 64, 95, 96, 224])
def test_the_width_of_its_features_is_that_of_what_it_makes(size: int, side: int) -> None:
    side = min(side, last_side(size))
    net = ConvNet(0.3, 1, size, side).eval()
    with torch.no_grad():
        features = net(torch.zeros(1, 3, size, size))
    assert features.shape == (1, net.feature_dim)
    assert net.feature_dim == feature_width(size, side) == 128 * (side or last_side(size)) ** 2
    assert ConvNet(0.3, 1).feature_dim == 512


@pytest.mark.parametrize("size", [33, 64, 96, 160, 224])
def test_averages_of_the_last_block_are_those_of_its_quarters(size: int) -> None:
    """Of an odd side the middle row and column lie in two of them, as torch's adaptive pooling."""
    torch.manual_seed(0)
    whole = ConvNet(0.0, 1, size).double().eval()
    averaged = ConvNet(0.0, 1, size, 2).double().eval()
    averaged.load_state_dict(whole.state_dict())  # no parameters of its own
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        places = whole(images).view(2, 128, last_side(size), last_side(size))
        expected = nn.functional.adaptive_avg_pool2d(places, 2).flatten(1)
        torch.testing.assert_close(averaged(images), expected)
    assert (len(list(averaged)) > len(list(whole))) == (last_side(size) > 2)


def test_relu_after_dropout_and_pooling_is_relu_before_them() -> None:
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    mask = (torch.rand(x.shape) > 0.3).double() / 0.7
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    first = nn.functional.max_pool2d(a.relu() * mask, 2)
    last = nn.functional.max_pool2d(b * mask, 2).relu()
    assert torch.equal(first, last)
    push = torch.randn(first.shape, dtype=torch.float64)
    first.backward(push)
    last.backward(push)
    assert torch.equal(grad(a), grad(b))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [30, 13, 4])
def test_pooling_without_a_gradient_is_torchs_own_bit_by_bit(
    layout: torch.memory_format, dtype: torch.dtype, side: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, side, side, generator=generator)
    x[x.abs() < 0.3] = 0.0  # what dropout leaves: ties
    x[0, 0, 1, 1] = torch.nan
    x = x.to(dtype).contiguous(memory_format=layout)
    theirs = nn.MaxPool2d(2)(x)
    ours = MaxPool2d()(x)
    assert ours.stride() == theirs.stride()
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours.nan_to_num(9.0), theirs.nan_to_num(9.0))
    learned = x.clone().requires_grad_()
    MaxPool2d()(learned).nan_to_num(0.0).sum().backward()
    reference = x.clone().requires_grad_()
    nn.MaxPool2d(2)(reference).nan_to_num(0.0).sum().backward()
    assert learned.grad is not None
    assert reference.grad is not None
    assert torch.equal(learned.grad, reference.grad)
