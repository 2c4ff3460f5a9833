"""Updates in pieces are those of the whole, bit by bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.data.dataset import Dataset
from engine.pretrain import piecewise
from engine.pretrain.piecewise import piece_length, pieces, piecewise_updates
from engine.pretrain.training_state import TrainingState

from ..tiny import RUNTIME, config_with, noise
from ..trees import differences


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return noise()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def state_of(dataset: Dataset, *, static: bool = True, **values: Any) -> TrainingState:
    return TrainingState(config_with(**values), dataset.train.images, RUNTIME, static=static)


def test_pieces_are_all_values_once_in_the_order_of_memory() -> None:
    plain = torch.arange(10.0)
    last = torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    made = pieces([plain, last], 7)
    assert [len(piece) for piece in made] == [7, 3, 7, 7, 7, 3]
    assert torch.cat(made[:2]).tolist() == plain.tolist()
    assert torch.cat(made[2:]).tolist() == last.permute(0, 2, 3, 1).flatten().tolist()
    made[0][3] = -1.0
    assert plain[3] == -1.0


def test_as_many_pieces_as_one_launch_takes() -> None:
    notebook = [864, 32, 32, 18432, 64, 64, 73728, 128, 128, 262144, 512]
    length = piece_length(notebook)
    assert length is not None
    assert sum(-(-size // length) for size in notebook) <= 48
    shorter = length - 1024
    assert sum(-(-size // shorter) for size in notebook) > 48
    assert length % 1024 == 0
    assert piece_length([100_000] * 49) is None  # more tensors than one launch takes
    assert piece_length([4_000_000]) is None  # pieces as long as the parts that torch makes
    assert piece_length([500, 1000]) is None  # each is one piece anyway
    assert piece_length([]) is None


@pytest.mark.parametrize("values", [{}, {"optim__weight_decay": 0.1, "moco__momentum": 0.7}])
def test_updates_are_those_of_the_whole_bit_by_bit(
    values: dict[str, Any], dataset: Dataset
) -> None:
    """Parameters of both encoders, and the momenta that a checkpoint holds."""
    one, other = state_of(dataset, **values), state_of(dataset, **values)
    updates = piecewise_updates(one)
    assert updates is not None
    generator = torch.Generator().manual_seed(1)
    for step in range(3):
        for state in (one, other):
            state.next_indices()
            state.step = step
        for ours, theirs in zip(
            one.model.trainable_parameters(), other.model.trainable_parameters(), strict=True
        ):
            noise_ = torch.randn(ours.shape, generator=generator)
            ours.grad = torch.empty_like(ours).copy_(noise_)
            theirs.grad = torch.empty_like(ours).copy_(noise_)
        updates.momentum_update()
        updates.optimise()
        other.model.momentum_update()
        other.note_gradient()
        other.optimizer.step()
        assert one.gradient_norm is not None
        assert other.gradient_norm is not None
        assert float(one.gradient_norm) == pytest.approx(float(other.gradient_norm), rel=1e-6)
    assert differences(one.state_dict(), other.state_dict()) == []
    before = state_of(dataset, **values)
    assert differences(one.state_dict(), before.state_dict()) != []


def test_momenta_that_were_loaded_are_the_ones_that_move(dataset: Dataset) -> None:
    one, other = state_of(dataset), state_of(dataset)
    updates = piecewise_updates(one)
    assert updates is not None
    kept = copy.deepcopy(one.state_dict())
    for momentum in kept["optimizer"]["state"].values():
        momentum["momentum_buffer"].fill_(0.5)
    for state in (one, other):
        state.load_state_dict(copy.deepcopy(kept))
        for parameter in state.model.trainable_parameters():
            parameter.grad = torch.ones_like(parameter)
    updates.optimise()
    other.note_gradient()
    other.optimizer.step()
    assert differences(one.state_dict(), other.state_dict()) == []


@pytest.mark.parametrize("what", ["missing", "strides"])
def test_a_gradient_that_does_not_fit_is_taken_as_a_whole(what: str, dataset: Dataset) -> None:
    one, other = state_of(dataset), state_of(dataset)
    updates = piecewise_updates(one)
    assert updates is not None
    for state in (one, other):
        for number, parameter in enumerate(state.model.trainable_parameters()):
            values = torch.arange(float(parameter.numel())).view(parameter.shape)
            if what == "strides":
                parameter.grad = values  # row by row, also where the parameter is channels_last
            elif number:
                parameter.grad = torch.empty_like(parameter).copy_(values)
    updates.optimise()
    other.note_gradient()
    other.optimizer.step()
    assert differences(one.state_dict(), other.state_dict()) == []


def test_where_pieces_gain_nothing_or_are_not_the_same_there_are_none(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert piecewise_updates(state_of(dataset, static=False)) is None
    assert piecewise_updates(state_of(dataset, moco__momentum_schedule="cosine")) is None
    assert piecewise_updates(state_of(dataset, optim__sgd_momentum=0.0)) is None
    assert piecewise_updates(state_of(dataset, model__encoder="resnet18")) is None
    monkeypatch.setattr(piecewise, "MOST_PIECES", 5)
    assert piecewise_updates(state_of(dataset)) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_operations_on_pieces_give_the_bits_of_the_whole() -> None:
    values = [torch.randn(shape, device="cuda") for shape in ((512, 512), (64, 32, 3, 3), (7,))]

    def made() -> list[list[Tensor]]:
        return [[tensor * factor for tensor in values] for factor in (1.0, 0.3, 2.0)]

    def updated(parameters: list[Tensor], gradients: list[Tensor], momenta: list[Tensor]) -> None:
        torch._foreach_lerp_(momenta, parameters, 0.01)
        torch._fused_sgd_(
            parameters,
            gradients,
            momenta,
            weight_decay=1e-4,
            momentum=0.9,
            lr=torch.tensor(0.06, device="cuda"),
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
        )

    whole, parted = made(), made()
    updated(*whole)
    updated(*(pieces(tensors, 1024) for tensors in parted))
    for our_list, their_list in zip(parted, whole, strict=True):
        assert all(map(torch.equal, our_list, their_list))
