"""The model whose loss and keys are kernels is the model: on a CPU, by torch's own operations."""

from __future__ import annotations

import pytest
import torch

from engine.models import kernel_moco
from engine.models.kernel_moco import KernelMoCo
from engine.models.moco import MoCo

from ..tiny import config_with


def pair(symmetric: bool = True, shuffle_keys: bool = True) -> tuple[MoCo, KernelMoCo]:
    torch.manual_seed(0)
    config = config_with(
        moco__symmetric=symmetric, moco__shuffle_keys=shuffle_keys, model__dropout=0.0
    )
    model = MoCo(config.model, config.moco)
    return model, KernelMoCo.like(model)


def test_it_shares_all_tensors_with_its_model() -> None:
    model, twin = pair()
    for ours, theirs in zip(twin.state_dict().values(), model.state_dict().values(), strict=True):
        assert ours.data_ptr() == theirs.data_ptr()
    assert isinstance(model, MoCo)
    assert not isinstance(model, KernelMoCo)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("narrow", [False, True])
def test_loss_keys_and_gradients_are_those_of_the_model(narrow: bool, symmetric: bool) -> None:
    """The loss in float32 under autocast too."""
    model, twin = pair(symmetric)
    views = torch.randn(2, 8, 3, 32, 32)
    order = model.key_order(views[0], torch.Generator().manual_seed(2))
    found = []
    for each in (model, twin):
        each.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
            loss, keys = each.loss_in_order(views[0], views[1], order)
        assert loss.dtype == keys.dtype == torch.float32
        assert not keys.requires_grad
        loss.backward()
        gradients = [p.grad.clone() for p in model.encoder_q.parameters() if p.grad is not None]
        found.append((loss.detach(), keys, gradients))
    (loss, keys, gradients), (our_loss, our_keys, our_gradients) = found
    assert float(our_loss) == pytest.approx(float(loss), rel=1e-6)
    assert torch.allclose(our_keys, keys, atol=1e-6)
    near = 3e-2 if narrow else 1e-4
    for ours, theirs in zip(our_gradients, gradients, strict=True):
        assert float((ours - theirs).norm()) <= near * float(theirs.norm()) + 1e-7


def test_a_card_without_products_takes_the_loss_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = (7, 5)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    card = torch.device("cuda")
    assert not kernel_moco.has_products(card)
    assert kernel_moco.has_products(torch.device("cpu"))
    capability = (8, 0)
    assert kernel_moco.has_products(card)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(kernel_moco, "contrast", never)
    monkeypatch.setattr(kernel_moco, "has_products", lambda _: False)
    model, twin = pair()
    query, keys = torch.nn.functional.normalize(torch.randn(2, 8, 8), dim=2)
    assert torch.equal(twin.contrast(query, keys), model.contrast(query, keys))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_keys_are_ordered_in_the_same_bits(
    symmetric: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, twin = pair(symmetric)
    view = torch.empty(300, 3, 1, 1)
    for most in (8192, 299):  # above: as the model sorts
        monkeypatch.setattr(kernel_moco, "MOST_SORTED", most)
        generators = [torch.Generator().manual_seed(3) for _ in range(2)]
        orders = [
            each.key_order(view, g) for each, g in zip((model, twin), generators, strict=True)
        ]
        assert orders[0] is not None
        assert orders[1] is not None
        assert torch.equal(*[order for order in orders if order is not None])
        assert torch.equal(*[generator.get_state() for generator in generators])
    torch.manual_seed(5)
    by_default = model.key_order(view, None)
    torch.manual_seed(5)
    ours = twin.key_order(view, None)
    assert by_default is not None
    assert ours is not None
    assert torch.equal(ours, by_default)
    assert pair(shuffle_keys=False)[1].key_order(view, None) is None


def test_images_in_the_order_of_the_keys_lie_as_they_did() -> None:
    """So that no layer has to lay them out again."""
    model, twin = pair()
    images = torch.randn(6, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    order = torch.randperm(6)
    ours = twin._in_order(images, order)
    assert torch.equal(ours, model._in_order(images, order))
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_keys_go_where_the_model_puts_them() -> None:
    found = []
    for number in range(2):
        model, twin = pair()
        for seed in range(4):  # around the end of the queue
            keys = torch.randn(16, 8, generator=torch.Generator().manual_seed(seed))
            (twin if number else model).enqueue(keys)
        found.append((model.queue, model.queue_ptr))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
