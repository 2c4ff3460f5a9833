"""Groupwise gradients against MoCo.loss and backward, on everything that a step leaves behind."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from engine.config.moco_schema import MocoConfig
from engine.config.schema import ModelConfig
from engine.models.moco import MoCo
from engine.native.library import LEVELS, OFF, library
from engine.pretrain.groupwise_backward import GroupwiseBackward

from ..gradients import grad

LIBRARY = library()
AVAILABLE = LEVELS[: LIBRARY.moco_levels()] if LIBRARY is not None else ()
without_and_with = pytest.mark.parametrize("kernels", [OFF, *AVAILABLE[-1:]])


def made(dtype: torch.dtype = torch.float64, size: int = 32, **model: object) -> MoCo:
    torch.manual_seed(0)
    config = ModelConfig(**{"dim": 8, "dropout": 0.0, "bn_splits": 4, **model})  # type: ignore[arg-type]
    moco = MoCo(config, MocoConfig(queue_size=50), size)
    with torch.no_grad():  # two encoders and statistics that differ
        for p in moco.encoder_q.parameters():
            p.add_(torch.randn_like(p) * 0.02)
        for i, b in enumerate(moco.buffers()):
            if b.dim() == 1:
                b.add_(0.1 * i)
    return moco.to(dtype)


def pair(n: int, dtype: torch.dtype = torch.float64, size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, n, 3, size, size, generator=generator, dtype=dtype)
    return x, y


@pytest.mark.parametrize("threads", [1, 2, 3])  # three are more than two groups of one view
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("splits", [1, 4])
def test_a_step_is_that_of_loss_and_backward(
    threads: int, symmetric: bool, shuffled: bool, splits: int
) -> None:
    ours, plain = made(bn_splits=splits), made(bn_splits=splits)
    for moco in (ours, plain):
        moco.symmetric, moco.shuffle_keys = symmetric, shuffled
    x, y = pair(8)
    with GroupwiseBackward(ours, threads=threads, dtype=torch.float64) as step:
        for seed in range(2):  # the second with gradients, statistics and replicas in place
            loss, keys = step(x, y, torch.Generator().manual_seed(seed))
            plain.zero_grad()
            expected, wanted = plain.loss(x, y, torch.Generator().manual_seed(seed))
            expected.backward()
            assert not loss.requires_grad
            torch.testing.assert_close(loss, expected.detach(), rtol=1e-10, atol=0)
            torch.testing.assert_close(keys, wanted, rtol=1e-9, atol=1e-10)
            for p, q in zip(ours.encoder_q.parameters(), plain.encoder_q.parameters(), strict=True):
                torch.testing.assert_close(p.grad, q.grad, rtol=1e-8, atol=1e-9)
            for a, b in zip(ours.buffers(), plain.buffers(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
            with torch.no_grad():  # the next step must see the new weights
                for moco in (ours, plain):
                    for p in moco.parameters():
                        p.mul_(1.01)
    assert all(p.grad is None for p in ours.encoder_k.parameters())


@pytest.mark.parametrize(
    ("encoder", "dtype", "kernels", "size"),
    [
        *itertools.product(["convnet"], [torch.float32, torch.bfloat16], [OFF, *AVAILABLE], [32]),
        *itertools.product(["convnet"], [torch.float32, torch.bfloat16], [OFF, *AVAILABLE], [48]),
        *itertools.product(
            ["resnet18"], [torch.float32, torch.bfloat16], [OFF, *AVAILABLE[-1:]], [32]
        ),
        *itertools.product(["resnet50"], [torch.float32], AVAILABLE[-1:], [32]),  # of other blocks
    ],
)
def test_a_step_in_lower_precision_comes_close(
    dtype: torch.dtype, encoder: str, kernels: str, size: int
) -> None:
    side = 2 if size > 32 else 0  # averages of the last block
    ours, plain = (made(torch.float32, size, encoder=encoder, feature_side=side) for _ in range(2))
    x, y = pair(16, torch.float32, size)
    with GroupwiseBackward(ours, threads=2, dtype=dtype, kernels=kernels) as step:
        assert step.kernels == kernels
        loss, keys = step(x, y, torch.Generator().manual_seed(0))
    expected, wanted = plain.loss(x, y, torch.Generator().manual_seed(0))
    expected.backward()
    loose = dtype == torch.bfloat16
    assert loss.dtype == keys.dtype == torch.float32
    assert abs(float(loss) / float(expected.detach()) - 1) < (0.02 if loose else 1e-5)
    cosine = torch.nn.functional.cosine_similarity(keys, wanted)
    assert float(cosine.min()) > (0.99 if loose else 1 - 1e-5)
    a = torch.cat([grad(p).flatten() for p in ours.encoder_q.parameters()])
    b = torch.cat([grad(p).flatten() for p in plain.encoder_q.parameters()])
    assert float(torch.nn.functional.cosine_similarity(a, b, dim=0)) > (0.97 if loose else 1 - 1e-5)
    assert all(grad(p).dtype == torch.float32 for p in ours.encoder_q.parameters())
    near = 0.05 if loose else 1e-4
    for ours_now, wanted_now in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours_now, wanted_now, rtol=near, atol=near)


@without_and_with
@pytest.mark.parametrize("dropout", [0.0, 0.3])  # a pass of keys has none
def test_a_head_of_two_layers_has_its_gradients(kernels: str, dropout: float) -> None:
    ours, plain = (made(torch.float32, mlp_head=True, dropout=dropout) for _ in range(2))
    x, y = pair(16, torch.float32)
    with GroupwiseBackward(ours, threads=2, kernels=kernels) as step:
        loss, _ = step(x, y, torch.Generator().manual_seed(0))
    expected, _ = plain.loss(x, y, torch.Generator().manual_seed(0))
    expected.backward()
    assert abs(float(loss) / float(expected.detach()) - 1) < (1e-5 if dropout == 0.0 else 0.3)
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None and dropout == 0.0:
            torch.testing.assert_close(grad(p), grad(q), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_have_the_layout_that_fused_optimizers_need(dtype: torch.dtype) -> None:
    moco, plain = made(torch.float32), made(torch.float32)
    moco.to(memory_format=torch.channels_last)
    x, y = pair(16, torch.float32)
    for model, fused in ((moco, True), (plain, False)):
        optimizer = torch.optim.SGD(
            model.trainable_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, fused=fused
        )
        with GroupwiseBackward(model, threads=2, dtype=dtype) as step:
            for seed in range(2):
                model.momentum_update()
                _, keys = step(x, y, torch.Generator().manual_seed(seed))
                optimizer.step()
                model.enqueue(keys)
    for p, q in zip(moco.parameters(), plain.parameters(), strict=True):
        if p.grad is not None:
            assert p.grad.stride() == p.stride()
            assert grad(p).dtype == p.dtype
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


@without_and_with
def test_dropout_repeats_with_the_default_generator_and_differs_between_steps(
    kernels: str,
) -> None:
    moco = made(torch.float32, dropout=0.3)
    x, y = pair(8, torch.float32)
    with GroupwiseBackward(moco, threads=2, kernels=kernels) as step:

        def gradient() -> Tensor:
            step(x, y, torch.Generator().manual_seed(0))
            return torch.cat([grad(p).flatten() for p in moco.encoder_q.parameters()])

        torch.manual_seed(3)
        state = torch.get_rng_state()
        first, second = gradient(), gradient()
        torch.set_rng_state(state)
        assert torch.equal(gradient(), first)
        assert torch.equal(gradient(), second)
        assert not torch.allclose(first, second)


@without_and_with
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_units_are_dropped_on_any_number_of_threads(
    kernels: str, dtype: torch.dtype
) -> None:
    """Views as the kernels make them, whose groups are every fourth image."""
    x, y = (v.to(dtype).contiguous(memory_format=torch.channels_last) for v in pair(16))
    found = []
    for threads in (1, 2, 3):
        moco = made(torch.float32, dropout=0.3)
        torch.manual_seed(3)
        with GroupwiseBackward(moco, threads=threads, dtype=dtype, kernels=kernels) as step:
            loss, keys = step(x, y, torch.Generator().manual_seed(0))
        gradient = torch.cat([grad(p).flatten() for p in moco.encoder_q.parameters()])
        found.append((loss, keys, gradient))
    for loss, keys, gradient in found[1:]:
        assert torch.equal(loss, found[0][0])
        assert torch.equal(keys, found[0][1])
        # Each thread has a sum of its own: they are added in another order.
        torch.testing.assert_close(gradient, found[0][2], rtol=1e-3, atol=1e-4)


@without_and_with
def test_every_group_drops_other_units(kernels: str) -> None:
    """Twelve groups of equal images, one net: without dropout all would embed alike."""
    moco = made(torch.float32, dropout=0.3, bn_splits=6)
    x = torch.randn(2, 3, 32, 32).repeat_interleave(6, 0)  # image a in every group, then b
    seen: list[Tensor] = []
    with GroupwiseBackward(moco, threads=2, kernels=kernels) as step:
        for replica in step._replicas_q:
            head = replica.encoder.projection_head
            head.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
        step(x, x)
    assert len(seen) == 12
    distances = torch.pdist(torch.stack([out.flatten() for out in seen]))
    assert float(distances.min()) > 0.1 * float(distances.mean()) > 0


def test_groups_that_do_not_divide_the_batch_are_refused() -> None:
    with (
        GroupwiseBackward(made(), threads=1) as step,
        pytest.raises(ValueError, match=r"batch of 10 images.*multiple of 4"),
    ):
        step(*pair(10))


def test_the_thread_count_of_the_caller_stays() -> None:
    before = torch.get_num_threads()
    with GroupwiseBackward(made(torch.float32), threads=2) as step:
        step(*pair(8, torch.float32))
    assert torch.get_num_threads() == before


def test_uninitialised_memory_never_shows() -> None:
    """In deterministic mode torch fills memory that nobody has written yet with NaN."""
    moco = made(torch.float32, dropout=0.3)
    torch.use_deterministic_algorithms(True)
    try:
        with GroupwiseBackward(moco, threads=2) as step:
            loss, keys = step(*pair(8, torch.float32))
    finally:
        torch.use_deterministic_algorithms(False)
    assert bool(loss.isfinite())
    assert bool(keys.isfinite().all())
    assert all(bool(value.isfinite().all()) for value in moco.state_dict().values())
    assert all(bool(grad(p).isfinite().all()) for p in moco.encoder_q.parameters())
