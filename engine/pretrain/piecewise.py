"""Updates of a small net in pieces of its parameters, by torch's operations on lists of tensors.

These give a block of threads up to 65,536 values of one tensor. The net of the notebook has a dozen
such parts, which leave a card idle: 20 us a list on an H200, where its bytes take 2. Of pieces,
which are shorter, each block has one. Every value is computed as in the whole, so the bits are the
same, but for the norm of the gradient: a sum in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from engine.pretrain.training_state import TrainingState

MOST_PIECES = 48
"""Tensors that one launch takes of three lists (``TensorListMetadata`` in torch)."""
UNIT = 1024
"""Values that pieces are multiples of: so each begins on a boundary that wide loads need."""
BLOCK = 65536
"""Values that torch gives a block of threads."""


def piece_length(sizes: Sequence[int]) -> int | None:
    """The shortest length of pieces of tensors of these sizes that one launch takes all of.

    None where there is none, or pieces would be no shorter than the parts that torch makes.
    """
    for length in range(UNIT, min(BLOCK, max(sizes, default=0)), UNIT):
        if sum(-(-size // length) for size in sizes) <= MOST_PIECES:
            return length
    return None


def pieces(tensors: Iterable[Tensor], length: int) -> list[Tensor]:
    """Views of ``length`` values each, in the order of memory; the last of a tensor has the rest.

    Args:
        tensors: dense, in any order of their dimensions.
        length: at least 1.
    """
    flat = (tensor.detach().as_strided((tensor.numel(),), (1,)) for tensor in tensors)
    return [piece for values in flat for piece in torch.split(values, length)]


class PiecewiseUpdates:
    """The momentum update, the norm of the gradient and SGD, in pieces.

    Args:
        state: of the pretraining; its momentum is constant, its SGD fused and with a momentum.
        length: of the pieces.
    """

    def __init__(self, state: TrainingState, length: int) -> None:
        self._state, self._length = state, length
        model = state.model
        self._parameters = list(model.trainable_parameters())
        self._queries = pieces(self._parameters, length)
        self._keys = pieces(model.encoder_k.parameters(), length)

    @torch.no_grad()
    def momentum_update(self) -> None:
        """As ``MoCo.momentum_update``."""
        torch._foreach_lerp_(self._keys, self._queries, 1.0 - self._state.model.momentum)

    @torch.no_grad()
    def optimise(self) -> None:
        """As ``PlainStep.optimise``; as written where a gradient is missing or lies otherwise."""
        state = self._state
        found = [parameter.grad for parameter in self._parameters]
        gradients = [grad for grad in found if grad is not None]
        if len(gradients) < len(found) or not all(map(_alike, gradients, self._parameters)):
            state.note_gradient()
            state.optimizer.step()
            return
        parts = pieces(gradients, self._length)
        state.note_gradient(parts)
        [group] = state.optimizer.param_groups
        # Looked up each time: a state that is loaded replaces them.
        momenta = [state.optimizer.state[p]["momentum_buffer"] for p in self._parameters]
        torch._fused_sgd_(
            self._queries,
            parts,
            pieces(momenta, self._length),
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=False,
        )


def piecewise_updates(state: TrainingState) -> PiecewiseUpdates | None:
    """The updates of a state in pieces; None where they gain nothing or would not be the same."""
    optimizer, model = state.optimizer, state.model
    parameters = list(model.trainable_parameters())
    length = piece_length([parameter.numel() for parameter in parameters])
    keys = list(model.encoder_k.parameters())
    if length is None or model.pull is not None or not state.static:
        return None
    if len(optimizer.param_groups) != 1 or not optimizer.param_groups[0]["fused"]:
        return None
    if not hasattr(torch, "_fused_sgd_"):  # torch's own, which it may rename
        return None
    held = [optimizer.state[p].get("momentum_buffer") for p in parameters]
    momenta = [momentum for momentum in held if momentum is not None]
    if len(momenta) < len(held):
        return None
    if not all(map(_alike, keys, parameters)) or not all(map(_alike, momenta, parameters)):
        return None
    return PiecewiseUpdates(state, length)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether values at the same place of memory belong together; dense float32."""
    return (
        one.stride() == other.stride()
        and one.shape == other.shape
        and one.dtype == other.dtype == torch.float32
        and _dense(one)
    )


def _dense(tensor: Tensor) -> bool:
    strides = tensor.stride()
    by_stride = sorted(range(tensor.ndim), key=lambda axis: strides[axis], reverse=True)
    return tensor.permute(by_stride).is_contiguous()
