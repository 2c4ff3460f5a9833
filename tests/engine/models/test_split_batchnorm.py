"""SplitBatchNorm2d against nn.BatchNorm2d on the groups x[j::S], one view after another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.models.split_batchnorm import SplitBatchNorm2d, set_views

from ..gradients import grad

FORMATS = [torch.contiguous_format, torch.channels_last]


def images(n: int, channels: int, layout: torch.memory_format, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, channels, 5, 3, generator=generator) * 2 + 1
    # Samples, channels and places that differ, so that a wrong grouping cannot hide.
    x += torch.arange(n).view(-1, 1, 1, 1) * 0.3 + torch.arange(channels).view(-1, 1, 1)
    return x.contiguous(memory_format=layout)


class Oracle:
    """nn.BatchNorm2d on every group of every view, in float64 and apart."""

    def __init__(self, channels: int, splits: int, weight: Tensor, bias: Tensor) -> None:
        self.splits = splits
        self.weight = weight.detach().double().requires_grad_()
        self.bias = bias.detach().double().requires_grad_()
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.var = torch.ones(channels, dtype=torch.float64)

    def __call__(self, x: Tensor, views: int) -> Tensor:
        out = torch.empty_like(x)
        size = len(x) // views
        for v in range(views):
            means, variances = [], []
            for j in range(self.splits):
                layer = nn.BatchNorm2d(x.shape[1], affine=False).double()
                rows = torch.arange(v * size + j, (v + 1) * size, self.splits)
                y = layer(x[rows])
                y = y * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
                out = out.index_copy(0, rows, y)
                assert layer.running_mean is not None
                assert layer.running_var is not None
                means.append((layer.running_mean - 0.9 * 0) / 0.1)
                variances.append((layer.running_var - 0.9 * 1) / 0.1)
            self.mean = 0.9 * self.mean + 0.1 * torch.stack(means).mean(0)
            self.var = 0.9 * self.var + 0.1 * torch.stack(variances).mean(0)
        return out


def made(channels: int, splits: int) -> SplitBatchNorm2d:
    layer = SplitBatchNorm2d(channels, splits)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1.0, 2.0, channels))
        layer.bias.copy_(torch.linspace(0.5, -1.5, channels))
    return layer


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("splits", [1, 2, 3, 8])
@pytest.mark.parametrize("views", [1, 2])
def test_forward_backward_and_running_statistics(
    layout: torch.memory_format, splits: int, views: int
) -> None:
    layer = made(4, splits)
    oracle = Oracle(4, splits, layer.weight, layer.bias)
    set_views(layer, views)
    for step in range(2):
        data = images(24 * views, 4, layout, seed=step)
        x = data.clone(memory_format=torch.preserve_format).requires_grad_()
        y = data.double().contiguous().requires_grad_()
        out, expected = layer(x), oracle(y, views)
        assert out.is_contiguous(memory_format=layout)
        torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
        push = torch.randn(out.shape, generator=torch.Generator().manual_seed(9 + step))
        layer.zero_grad()
        oracle.weight.grad = oracle.bias.grad = None
        out.backward(push)
        expected.backward(push.double())
        torch.testing.assert_close(grad(x).double(), y.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            grad(layer.weight).double(), oracle.weight.grad, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            grad(layer.bias).double(), oracle.bias.grad, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(layer.running_mean.double(), oracle.mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(layer.running_var.double(), oracle.var, rtol=1e-5, atol=1e-5)
    assert int(layer.num_batches_tracked) == 2 * views


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("views", [1, 2])
def test_bfloat16_input_keeps_its_type_and_float32_statistics(
    layout: torch.memory_format, views: int
) -> None:
    layer = made(4, 8)
    set_views(layer, views)
    x = images(32, 4, layout).bfloat16().requires_grad_()
    oracle = Oracle(4, 8, layer.weight, layer.bias)
    out = layer(x)
    expected = oracle(x.detach().double(), views)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=layout)
    assert layer.running_mean.dtype == layer.running_var.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected, rtol=2**-7, atol=2**-7)
    torch.testing.assert_close(layer.running_mean.double(), oracle.mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.running_var.double(), oracle.var, rtol=1e-4, atol=1e-4)
    y = x.detach().double().requires_grad_()
    push = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).bfloat16()
    out.backward(push)
    oracle(y, views).backward(push.double())
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.is_contiguous(memory_format=layout)
    torch.testing.assert_close(grad(x).double(), y.grad, rtol=2**-7, atol=2**-7)
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(
        grad(layer.weight).double(), oracle.weight.grad, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("views", [1, 2])
def test_nothing_but_the_input_is_kept_for_the_gradient(views: int) -> None:
    """In bfloat16: no copy of it in float32, and nothing else of its size."""
    layer = made(4, 8)
    set_views(layer, views)
    x = images(1024, 4, torch.channels_last).bfloat16().requires_grad_()
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x)
    assert x.untyped_storage().data_ptr() in kept
    assert sum(kept.values()) < 1.2 * x.untyped_storage().nbytes()


@pytest.mark.parametrize("layout", FORMATS)
def test_eval_mode_is_batchnorm_with_the_running_statistics(layout: torch.memory_format) -> None:
    layer = made(4, 8)
    layer(images(16, 4, layout))
    plain = nn.BatchNorm2d(4)
    plain.load_state_dict(layer.state_dict())  # the names are those of BatchNorm2d
    layer.eval()
    plain.eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = images(5, 4, layout, seed=3)  # a size that the groups need not divide
    torch.testing.assert_close(layer(x), plain(x))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize(("n", "splits", "views"), [(12, 8, 1), (24, 8, 2), (8, 16, 1)])
def test_groups_that_do_not_divide_the_batch_are_refused(n: int, splits: int, views: int) -> None:
    layer = SplitBatchNorm2d(4, splits)
    set_views(layer, views)
    with pytest.raises(ValueError, match=f"batch of {n} images.*multiple of {splits * views}"):
        layer(images(n, 4, torch.contiguous_format))


def test_groups_of_one_value_are_refused() -> None:
    with pytest.raises(ValueError, match="no variance"):
        SplitBatchNorm2d(4, 8)(torch.randn(8, 4, 1, 1))


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("splits", [1, 4])
def test_uninitialised_memory_never_shows(layout: torch.memory_format, splits: int) -> None:
    """In deterministic mode torch fills memory that nobody has written yet with NaN."""
    layer = SplitBatchNorm2d(4, splits)
    x = images(16, 4, layout).requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        out = layer(x)
        out.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    for value in (out, grad(x), grad(layer.weight), layer.running_mean, layer.running_var):
        assert bool(value.isfinite().all())
