"""The cheap dropout: exact share, kept mean, independent units, gradient, generators."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.models.dropout import Dropout, keep_share


def dropped(p: float, x: Tensor, seed: int = 0) -> Tensor:
    layer = Dropout(p)
    layer.generator = torch.Generator().manual_seed(seed)
    out: Tensor = layer(x)
    return out


@pytest.mark.parametrize("p", [0.001, 0.01, 0.1, 0.25, 0.3, 0.5, 0.77, 0.99, 0.9999])
def test_the_share_is_next_to_p_and_exact(p: float) -> None:
    bits, kept = keep_share(p)
    share = 1.0 - kept / 2**bits
    assert 0.0 < share < 1.0
    assert abs(share - p) <= max(0.02 * min(p, 1.0 - p), 2.0**-17)
    n = 1_000_000
    count = int((dropped(p, torch.ones(n)) == 0).sum())
    # A mask that is off by one value of its 256 (or 65,536) would fail from p = 0.1 on.
    assert abs(count - n * share) < 5 * math.sqrt(n * share * (1 - share)) + 1


def test_the_notebook_preset_drops_77_of_256() -> None:
    assert keep_share(0.3) == (8, 179)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kept_units_are_scaled_and_the_gradient_follows_the_mask(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    x = (torch.randn(6, 5, 4, 3) + 3).to(dtype).contiguous(memory_format=layout).requires_grad_()
    out = dropped(0.3, x)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=layout)
    keep = out != 0
    assert 0.5 < float(keep.double().mean()) < 0.9
    expected = torch.where(keep, x.detach().double() * 256 / 179, 0.0)
    torch.testing.assert_close(out.double(), expected, rtol=torch.finfo(dtype).eps, atol=0)
    push = torch.randn(out.shape).to(dtype)
    out.backward(push)
    assert x.grad is not None
    wanted = torch.where(keep, push.double() * 256 / 179, 0.0)
    torch.testing.assert_close(x.grad.double(), wanted, rtol=torch.finfo(dtype).eps, atol=0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    x = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dropped(0.4, x) ** 2, x)


def test_an_expanded_gradient_and_a_strided_input_are_taken() -> None:
    base = torch.randn(8, 6, 5)
    x = base[::2, :, ::2].requires_grad_()
    out = dropped(0.5, x)
    out.sum().backward()  # its gradient is one value, expanded
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (out != 0).float() * 2)


def test_the_mean_is_kept() -> None:
    n = 1_000_000
    for p in (0.3, 0.001):
        mean = float(dropped(p, torch.ones(n)).mean())
        bits, kept = keep_share(p)
        share = kept / 2**bits
        assert abs(mean - 1.0) < 5 * math.sqrt((1 - share) / share / n)


def test_units_are_independent_of_each_other_and_of_the_last_call() -> None:
    layer = Dropout(0.3)
    layer.generator = torch.Generator().manual_seed(5)
    n = 1_000_000
    first, second = ((layer(torch.ones(n)) == 0).double() for _ in range(2))
    p = 77 / 256
    # Neighbours in a 64-bit number, in the next numbers, and the same unit a call later.
    others = {f"lag {lag}": (first[:-lag], first[lag:]) for lag in (1, 2, 3, 4, 7, 8, 9, 64, 1000)}
    others["call"] = (first, second)
    for name, (a, b) in others.items():
        both = float((a * b).mean())
        sigma = math.sqrt(p**2 * (1 - p**2) / len(a))
        assert abs(both - p**2) < 5 * sigma, name


def test_eval_mode_and_p_0_pass_everything() -> None:
    x = torch.randn(4, 4)
    state = torch.get_rng_state()
    layer = Dropout(0.9).eval()
    assert layer(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_come_from_the_default_generator_and_repeat_with_it() -> None:
    x, layer = torch.ones(1000), Dropout(0.3)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = layer(x), layer(x)
    torch.set_rng_state(state)
    assert torch.equal(layer(x), first)
    assert torch.equal(layer(x), second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_a_probability_out_of_range_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        Dropout(p)
