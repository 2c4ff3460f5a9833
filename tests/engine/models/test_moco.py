"""The pieces of MoCo against closed forms and plain oracles."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from engine.config.moco_schema import MocoConfig
from engine.config.schema import ModelConfig
from engine.models.encoder import build_encoder
from engine.models.info_nce import chance_loss, info_nce
from engine.models.moco import MoCo, shuffle
from engine.models.split_batchnorm import SplitBatchNorm2d

MODEL = ModelConfig(dim=16, bn_splits=2)


def made(model: ModelConfig = MODEL, **moco: object) -> MoCo:
    torch.manual_seed(0)
    return MoCo(model, MocoConfig(**{"queue_size": 24, **moco}))  # type: ignore[arg-type]


def pair(n: int = 8, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, n, 3, 32, 32, generator=generator)
    return x, y


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {
        name for name, value in module.state_dict().items() if not torch.equal(value, before[name])
    }


# ---------------------------------------------------------------------------------- the loss


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_collapsed_encoder_scores_chance_in_each_direction(symmetric: bool) -> None:
    moco = made(symmetric=symmetric, queue_size=30)
    with torch.no_grad():
        for encoder in (moco.encoder_q, moco.encoder_k):
            head = encoder.projection_head
            assert isinstance(head, nn.Linear)
            head.weight.zero_()
            head.bias.copy_(torch.arange(16.0))
        moco.queue.copy_(F.normalize(torch.arange(16.0), dim=0).repeat(30, 1))
    loss, _ = moco.loss(*pair())
    assert float(loss.detach()) == pytest.approx(chance_loss(30, symmetric), rel=1e-5)


def test_autocast_leaves_the_loss_in_float32() -> None:
    q, k, queue = unit(10, 16, seed=1), unit(10, 16, seed=2), unit(40, 16, seed=3)
    with torch.autocast("cpu", torch.bfloat16):
        inside = info_nce(q, k, queue, 0.07)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, info_nce(q, k, queue, 0.07))
    moco = made()
    with torch.autocast("cpu", torch.bfloat16):
        loss, keys = moco.loss(*pair())
    assert loss.dtype == keys.dtype == torch.float32
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(16), rtol=1e-6, atol=1e-6)
    loss.backward()
    assert all(p.grad is not None for p in moco.trainable_parameters())


def test_the_symmetric_loss_is_the_sum_of_both_directions() -> None:
    model = ModelConfig(dim=16, bn_splits=1, dropout=0.0)
    x, y = pair()
    both, keys = made(model, symmetric=True).loss(x, y)
    one, key_2 = made(model, symmetric=False).loss(x, y)
    other, key_1 = made(model, symmetric=False).loss(y, x)
    torch.testing.assert_close(both, one + other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(keys, torch.cat([key_1, key_2]), rtol=1e-4, atol=1e-5)


def test_the_loss_reads_the_queue_and_leaves_it() -> None:
    moco = made()
    before = moco.queue.clone()
    moco.loss(*pair())[0].backward()
    assert torch.equal(moco.queue, before)
    assert int(moco.queue_ptr) == 0


# ------------------------------------------------------------------------------ the encoders


def test_the_gradient_reaches_encoder_q_only_and_the_optimizer_holds_exactly_it() -> None:
    moco = made()
    loss, keys = moco.loss(*pair())
    loss.backward()
    assert not keys.requires_grad
    assert all(p.grad is not None and p.grad.any() for p in moco.encoder_q.parameters())
    assert all(p.grad is None and not p.requires_grad for p in moco.encoder_k.parameters())
    held = {id(p) for p in moco.trainable_parameters()}
    assert held == {id(p) for p in moco.encoder_q.parameters()}
    assert held == {id(p) for p in moco.parameters() if p.requires_grad}


def test_a_step_of_the_optimizer_leaves_the_key_encoder() -> None:
    moco = made()
    optimizer = torch.optim.SGD(moco.trainable_parameters(), lr=0.1)
    moco.loss(*pair())[0].backward()
    before = state(moco)
    optimizer.step()
    assert changed(moco, before) == {
        f"encoder_q.{name}" for name, _ in moco.encoder_q.named_parameters()
    }


def test_encoders_start_equal_and_only_momentum_moves_the_keys_parameters() -> None:
    moco = made(momentum=0.9)
    for q, k in zip(moco.encoder_q.parameters(), moco.encoder_k.parameters(), strict=True):
        assert torch.equal(q, k)
        assert q is not k
    with torch.no_grad():
        for q in moco.encoder_q.parameters():
            q.add_(torch.randn_like(q))
    before_k = [k.double() for k in moco.encoder_k.parameters()]
    before = state(moco)
    moco.momentum_update()
    names = {f"encoder_k.{name}" for name, _ in moco.encoder_k.named_parameters()}
    assert changed(moco, before) == names  # running statistics are the key encoder's own
    for q, k, old in zip(
        moco.encoder_q.parameters(), moco.encoder_k.parameters(), before_k, strict=True
    ):
        torch.testing.assert_close(
            k.double(), 0.9 * old + 0.1 * q.detach().double(), rtol=1e-6, atol=1e-7
        )


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_momentum_0_copies_and_1_freezes(momentum: float) -> None:
    moco = made(momentum=momentum)
    before = [k.clone() for k in moco.encoder_k.parameters()]
    with torch.no_grad():
        for q in moco.encoder_q.parameters():
            q.mul_(3.0).add_(torch.randn_like(q) * 1e-3)
    moco.momentum_update()
    wanted = before if momentum == 1.0 else list(moco.encoder_q.parameters())
    assert all(torch.equal(k, w) for k, w in zip(moco.encoder_k.parameters(), wanted, strict=True))


def test_a_scheduled_momentum_is_read_from_the_device_at_the_same_address() -> None:
    """A recorded step repeats the numbers of its recording: the host's momentum must not count."""
    moco = made(momentum=0.9, momentum_schedule="cosine")
    assert moco.pull is not None
    place = moco.pull.data_ptr()
    assert "pull" not in moco.state_dict()
    for momentum in (0.9, 0.95, 1.0):
        moco.set_momentum(momentum)
        moco.momentum = 0.123
        with torch.no_grad():
            for q in moco.encoder_q.parameters():
                q.add_(torch.randn_like(q))
        before = [k.double() for k in moco.encoder_k.parameters()]
        moco.momentum_update()
        assert moco.pull.data_ptr() == place
        for q, k, old in zip(
            moco.encoder_q.parameters(), moco.encoder_k.parameters(), before, strict=True
        ):
            wanted = momentum * old + (1 - momentum) * q.detach().double()
            torch.testing.assert_close(k.double(), wanted, rtol=1e-6, atol=1e-6)
        assert momentum < 1 or all(
            torch.equal(k.double(), b)
            for k, b in zip(moco.encoder_k.parameters(), before, strict=True)
        )


def test_a_constant_momentum_stays() -> None:
    moco = made(momentum=0.9)
    moco.set_momentum(0.9)
    assert moco.pull is None
    with pytest.raises(ValueError, match="constant"):
        moco.set_momentum(0.95)


@pytest.mark.parametrize("prepare", ["train", "eval", "encoder_k.train"])
def test_the_key_encoder_drops_nothing_and_normalises_by_the_batch_in_every_mode(
    prepare: str,
) -> None:
    moco = made(ModelConfig(dim=16, bn_splits=1, dropout=0.9), shuffle_keys=False)
    if prepare == "encoder_k.train":
        moco.encoder_k.train()
    else:
        getattr(moco, prepare)()
    x, y = pair()
    _, first = moco.loss(x, y)
    _, second = moco.loss(x, y)
    assert torch.equal(first, second)
    plain = copy.deepcopy(moco.encoder_k).train()
    for module in plain.modules():
        assert getattr(module, "p", 0.0) == 0.0
    torch.testing.assert_close(first[:8], F.normalize(plain(x), dim=1), rtol=1e-4, atol=1e-5)
    norms = [m for m in moco.encoder_k.modules() if isinstance(m, SplitBatchNorm2d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [4, 4, 4]
    assert moco.encoder_q.training == (prepare != "eval")
    assert moco.training == (prepare != "eval")


@pytest.mark.parametrize("splits", [1, 2])
def test_shuffled_keys_come_back_in_order_with_other_groups(splits: int) -> None:
    model = ModelConfig(dim=16, bn_splits=splits, dropout=0.0)
    x, y = pair()
    _, plain = made(model, shuffle_keys=False).loss(x, y)
    moco = made(model)
    _, shuffled = moco.loss(x, y, torch.Generator().manual_seed(4))
    same = torch.isclose(plain, shuffled, rtol=1e-3, atol=1e-4).all(1)
    # One group is the same in any order; of two, every key meets other neighbours.
    assert bool(same.all()) == (splits == 1)
    assert float((plain * shuffled).sum(1).min()) > 0.9  # still the key of its own image
    # Encode by hand: each view permuted by its own draw, split, and put back.
    generator = torch.Generator().manual_seed(4)
    for view, keys in ((x, shuffled[:8]), (y, shuffled[8:])):
        order = torch.rand(8, generator=generator).argsort()
        for group in range(splits):
            rows = order[group::splits]
            alone = build_encoder(ModelConfig(dim=16, bn_splits=1, dropout=0.0))
            alone.load_state_dict(made(model).encoder_k.state_dict())
            expected = F.normalize(alone(view[rows]), dim=1)
            torch.testing.assert_close(keys[rows], expected, rtol=1e-3, atol=1e-5)


def test_shuffles_are_permutations_and_follow_their_generator() -> None:
    cpu = torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    first, second = shuffle(100, generator, cpu), shuffle(100, generator, cpu)
    assert first.sort().values.tolist() == list(range(100))
    assert not torch.equal(first, second)
    assert torch.equal(shuffle(100, torch.Generator().manual_seed(0), cpu), first)
    # Every place is equally likely: 10,000 permutations of 4, expected 2,500 a cell.
    counts = torch.zeros(4, 4)
    for _ in range(10_000):
        counts[torch.arange(4), shuffle(4, generator, cpu)] += 1
    assert float((counts - 2500).abs().max()) < 5 * math.sqrt(10_000 * 0.25 * 0.75)


def test_running_statistics_of_the_queries_move_view_by_view() -> None:
    model = ModelConfig(dim=16, bn_splits=2, dropout=0.0)
    moco, alone = made(model), made(model).encoder_q
    x, y = pair()
    moco.loss(x, y)
    alone(x)
    alone(y)
    for a, b in zip(moco.encoder_q.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_that_do_not_divide_the_batch_are_refused(symmetric: bool) -> None:
    moco = made(ModelConfig(dim=16, bn_splits=8), symmetric=symmetric)
    with pytest.raises(ValueError, match="cannot be split into 8 BatchNorm groups"):
        moco.loss(*pair(12))


# --------------------------------------------------------------------------------- the queue


@pytest.mark.parametrize("size", [1, 3, 8, 16, 20, 64])
@pytest.mark.parametrize("count", [1, 5, 8, 16])
def test_the_queue_is_a_ring_of_the_newest_keys(size: int, count: int) -> None:
    moco = made(queue_size=size)
    ring = [row.tolist() for row in moco.queue]
    place = 0
    for step in range(2 * size // count + 3):
        keys = unit(count, 16, seed=step)
        moco.enqueue(keys)
        for key in keys.tolist():  # one after another, so that the newest win
            ring[place] = key
            place = (place + 1) % size
        assert moco.queue.tolist() == ring
        assert int(moco.queue_ptr) == place
    assert moco.queue.shape == (size, 16)


def test_the_queue_starts_with_directions_at_random() -> None:
    moco = made(queue_size=4096)
    assert moco.queue.dtype == torch.float32
    torch.testing.assert_close(moco.queue.norm(dim=1), torch.ones(4096))
    # Uniform on the sphere: mean 0, covariance 1 / dim.
    assert float(moco.queue.mean(0).abs().max()) < 5 / math.sqrt(16 * 4096)
    covariance = moco.queue.T @ moco.queue / 4096
    assert float((covariance - torch.eye(16) / 16).abs().max()) < 0.01


def test_a_checkpoint_keeps_queue_pointer_and_both_encoders() -> None:
    moco = made(queue_size=21)
    optimizer = torch.optim.SGD(moco.trainable_parameters(), lr=0.1)
    for seed in range(2):
        moco.momentum_update()
        loss, keys = moco.loss(*pair(seed=seed))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moco.enqueue(keys)
    kept = state(moco)
    assert {"queue", "queue_ptr"} < set(kept)
    torch.manual_seed(99)
    other = MoCo(MODEL, MocoConfig(queue_size=21))
    other.load_state_dict(kept)
    assert int(other.queue_ptr) == 32 % 21
    assert changed(other, kept) == set()
    torch.manual_seed(5)
    expected, _ = moco.loss(*pair(seed=8))
    torch.manual_seed(5)
    again, _ = other.loss(*pair(seed=8))
    assert torch.equal(again, expected)


# ---------------------------------------------------------------------------------- the device


def test_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On fake CUDA tensors any read of a value (``.item()``, a mask as an index) raises."""
    monkeypatch.setattr(copy, "deepcopy", lambda _encoder: build_encoder(MODEL))
    with FakeTensorMode(), torch.device("cuda"):
        moco = MoCo(MODEL, MocoConfig(queue_size=100))
        x, y = torch.randn(2, 64, 3, 32, 32).unbind()
        moco.momentum_update()
        loss, keys = moco.loss(x, y)
        moco.enqueue(keys)
        assert loss.dtype == keys.dtype == torch.float32
        assert loss.device == moco.queue_ptr.device == torch.device("cuda", 0)
        assert keys.shape == (128, 16)
        with pytest.raises(DataDependentOutputException):
            moco.queue_ptr.item()
