"""Convolutions by products of bfloat16 pairs against those of float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.native.convolution import MOST_WIDTH, WeightGradient, convolve, convolve_backward
from engine.native.library import LEVELS, PAIR_PRODUCTS, library

LIBRARY = library()
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
pytestmark = pytest.mark.skipif(
    PAIR_PRODUCTS not in AVAILABLE, reason="the kernels were not built, or not for this processor"
)

# Those of the ConvNet; then images that are no pair, single rows and columns, channels that fill
# neither registers nor pairs, blocks of several images and of a few rows.
SHAPES = [
    (4, 3, 32, 32, 32),
    (4, 32, 15, 15, 64),
    (5, 64, 6, 6, 128),
    (1, 1, 3, 3, 2),
    (3, 5, 4, 9, 35),
    (2, 6, 9, 4, 3),
    (3, 9, 5, 15, 33),
    (7, 17, 3, 8, 16),
    (2, 4, 40, 14, 7),
    (7, 4, 6, 5, 9),
    (6, 3, 5, 5, 8),
]
shapes = pytest.mark.parametrize("shape", SHAPES)


def filled(*shape: int) -> Tensor:
    return torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)


def made(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Images, weights, and gradients towards what they make."""
    n, c, h, w, outputs = shape
    return filled(n, c, h, w), filled(outputs, c, 3, 3), filled(n, outputs, h - 2, w - 2)


def guarded(
    shape: tuple[int, ...], write: Callable[[Tensor], None], fill: float = float("nan")
) -> Tensor:
    """What is written to a tensor, around which nothing may be."""
    n, c, h, w = shape
    size, edge = n * c * h * w, 64
    flat = torch.full((size + 2 * edge,), fill, dtype=torch.bfloat16)
    out = flat[edge:-edge].view(n, h, w, c).permute(0, 3, 1, 2)
    write(out)
    assert bool(flat[:edge].isnan().all() & flat[-edge:].isnan().all())
    return out


def forward(x: Tensor, weight: Tensor) -> Tensor:
    shape = (len(x), len(weight), x.shape[2] - 2, x.shape[3] - 2)
    return guarded(shape, lambda out: convolve(x, weight, out, PAIR_PRODUCTS))


def backward(grad: Tensor, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    return guarded(shape, lambda out: convolve_backward(grad, weight, out, PAIR_PRODUCTS))


def of_weight(x: Tensor, grad: Tensor) -> Tensor:
    total = WeightGradient(x.shape[1], grad.shape[1], PAIR_PRODUCTS)
    total.add(x, grad)
    return total.take()


def exact(x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, gradients towards images and weights, in float64."""
    x, weight = x.double().requires_grad_(), weight.double().requires_grad_()
    out = F.conv2d(x, weight)
    of_x, its_gradient = torch.autograd.grad(out, [x, weight], grad.double())
    return out.detach(), of_x, its_gradient


def of_length(tensor: Tensor, expected: Tensor) -> float:
    assert tensor.shape == expected.shape
    return float((tensor.double() - expected).norm() / expected.norm())


@shapes
def test_they_are_those_of_float64(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight, grad = made(shape)
    out, of_x, its_gradient = exact(x, weight, grad)
    # Rounded once: off by 2**-9 at most, evenly spread.
    assert of_length(forward(x, weight), out) < 2.5e-3
    if shape[3] <= MOST_WIDTH:
        assert of_length(backward(grad, weight, x.shape), of_x) < 2.5e-3
    found = of_weight(x, grad)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert of_length(found, its_gradient) < 2e-6  # never rounded to bfloat16


@shapes
def test_small_whole_numbers_are_exact(shape: tuple[int, ...]) -> None:
    """Sums that no dtype rounds must agree to the bit: no value is missed or counted twice."""
    torch.manual_seed(0)
    x, weight, grad = (torch.where(t > 1.0, 1.0, 0.0).to(t) * t.sign() for t in made(shape))
    out, of_x, its_gradient = exact(x, weight, grad)
    assert torch.equal(forward(x, weight), out.bfloat16())
    if shape[3] <= MOST_WIDTH:
        assert torch.equal(backward(grad, weight, x.shape), of_x.bfloat16())
    assert torch.equal(of_weight(x, grad), its_gradient.float())


def test_gradients_add_up_until_they_are_taken() -> None:
    torch.manual_seed(0)
    total = WeightGradient(6, 10, PAIR_PRODUCTS)
    parts = [made((n, 6, 5, 7, 10)) for n in (3, 4)]
    for x, _, grad in parts:
        total.add(x, grad)
    expected = sum(exact(*part)[2] for part in parts)
    assert isinstance(expected, Tensor)
    assert of_length(total.take(), expected) < 2e-6
    assert not bool(total.take().any())


@pytest.mark.parametrize("shape", [(3, 3, 8, 9, 34), (3, 5, 6, 6, 9)])
def test_what_is_no_number_shows_where_it_is_used_and_only_there(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, weight, grad = made(shape)
    x[1, 2, 3, 4] = torch.nan
    out, _, its_gradient = exact(x, weight, grad)
    assert torch.equal(forward(x, weight).isnan(), out.isnan())
    assert torch.equal(of_weight(x, grad).isnan(), its_gradient.isnan())
    x, weight, grad = made(shape)
    grad[2, 1, 3, 2] = torch.nan
    _, of_x, its_gradient = exact(x, weight, grad)
    assert torch.equal(backward(grad, weight, x.shape).isnan(), of_x.isnan())
    assert torch.equal(of_weight(x, grad).isnan(), its_gradient.isnan())


def test_images_do_not_depend_on_the_images_beside_them() -> None:
    torch.manual_seed(0)
    x, weight, grad = made((5, 8, 7, 7, 40))
    out, of_x = forward(x, weight), backward(grad, weight, x.shape)
    for i in range(len(x)):
        assert torch.equal(forward(x[i : i + 1], weight), out[i : i + 1])
        alone = backward(grad[i : i + 1], weight, x[i : i + 1].shape)
        assert torch.equal(alone, of_x[i : i + 1])
