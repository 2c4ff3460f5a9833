"""The contrastive loss, unit vectors, the keys' order and their queue, as operations of torch.

As those of ``group_block``: on a CUDA card they are kernels in Triton, on a CPU torch's own
operations; they can be recorded, and a result repeats bit by bit. Products of queries and keys are
as good as those of float32 (``contrast_plan``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engine.kernels import written_contrast
from engine.kernels.operations import HAS_TRITON, by_torch, operation

if HAS_TRITON:
    from engine.kernels.contrast_launches import (
        launch_contrast,
        launch_enqueue,
        launch_order,
        launch_unit_rows,
        launch_unit_rows_backward,
    )

MOST_SORTED = 8192
"""Numbers that ``order_of`` takes in a view: it compares each with each."""


@operation("moco::contrast")
def contrast(
    query: Tensor,
    keys: Tensor,
    queue: Tensor,
    temperature: float,
    symmetric: bool,
    gradient: bool,
) -> tuple[Tensor, Tensor]:
    """InfoNCE (``engine.models.info_nce``) of some pairs, of both directions over the same queue.

    The logits are never held as a whole, with a gradient 32 MiB of them at a time.

    Args:
        query: float32 ``(n, dim)`` of unit length, contiguous; the first half of them of the first
            view where ``symmetric``.
        keys: likewise, in the same order: the positive of a query is that of its image, of the
            other view where ``symmetric``. Without a gradient.
        queue: float32 ``(K, dim)`` of unit length, contiguous, without a gradient.
        temperature: of the softmax, above 0.
        symmetric: whether there are two directions; the loss is the sum of both.
        gradient: whether there will be a backward pass.

    Returns:
        A scalar, and its gradient towards ``query``, empty where not wanted.
    """
    if by_torch(query):
        return written_contrast.contrast(query, keys, queue, temperature, symmetric, gradient)
    return launch_contrast(query, keys, queue, temperature, symmetric, gradient)


@operation("moco::unit_rows")
def unit_rows(x: Tensor, order: Tensor | None) -> Tensor:
    """``x (n, dim)`` with rows of unit length, at least float32; a row of zeros stays one.

    Args:
        x: float32 or bfloat16, contiguous.
        order: a permutation, int64 ``(n,)``: row ``i`` goes to ``order[i]``, and there is no
            gradient; None: rows stay.
    """
    if by_torch(x):
        return written_contrast.unit_rows(x, order)
    return launch_unit_rows(x, order)


@operation("moco::unit_rows_backward")
def unit_rows_backward(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of ``unit_rows`` towards ``x``, of its dtype, from ``grad`` in float32."""
    if by_torch(x):
        return written_contrast.unit_rows_backward(grad, x)
    return launch_unit_rows_backward(grad, x)


@operation("moco::order_of")
def order_of(first: Tensor, second: Tensor | None) -> Tensor:
    """``argsort(stable=True)`` of random numbers, for one or two views at once.

    Args:
        first: float32 ``(n,)``, finite, n at most ``MOST_SORTED``.
        second: likewise; its places count from n on.

    Returns:
        int64 ``(n,)`` or ``(2n,)``.
    """
    if by_torch(first):
        return written_contrast.order_of(first, second)
    return launch_order(first, second)


@operation("moco::enqueue", mutates_args=("queue", "pointer"))
def enqueue(queue: Tensor, pointer: Tensor, keys: Tensor) -> None:
    """Puts keys over the oldest of a queue; see ``MoCo.enqueue``.

    Args:
        queue: float32 ``(K, dim)``, contiguous, changed in place.
        pointer: int64 scalar, the place of the oldest key, changed in place.
        keys: float32 ``(M, dim)``, contiguous.
    """
    if by_torch(queue):
        written_contrast.enqueue(queue, pointer, keys)
    else:
        launch_enqueue(queue, pointer, keys)


def _fake_contrast(query: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    return query.new_empty(()), torch.empty_like(query) if others[-1] else query.new_empty(0)


def _fake_unit(x: Tensor, _order: Tensor | None) -> Tensor:
    return torch.empty_like(x, dtype=x.dtype if x.dtype == torch.float64 else torch.float32)


def _fake_unit_backward(_grad: Tensor, x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _fake_order(first: Tensor, second: Tensor | None) -> Tensor:
    return first.new_empty(len(first) * (1 if second is None else 2), dtype=torch.int64)


def _fake_enqueue(_queue: Tensor, _pointer: Tensor, _keys: Tensor) -> None:
    return None


def _keep_contrast(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG001
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # else its gradient, of zeros, takes a launch
    ctx.save_for_backward(output[1])


def _contrast_gradients(ctx: Any, grad: Tensor, _towards: None) -> tuple[Tensor | None, ...]:
    (gradient,) = ctx.saved_tensors
    return gradient * grad, None, None, None, None, None


def _keep_unit(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    assert inputs[1] is None, "rows that change their places have no gradient"
    ctx.save_for_backward(inputs[0])


def _unit_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    (x,) = ctx.saved_tensors
    return unit_rows_backward(grad.contiguous(), x), None


contrast.register_fake(_fake_contrast)
unit_rows.register_fake(_fake_unit)
unit_rows_backward.register_fake(_fake_unit_backward)
order_of.register_fake(_fake_order)
enqueue.register_fake(_fake_enqueue)
contrast.register_autograd(_contrast_gradients, setup_context=_keep_contrast)
unit_rows.register_autograd(_unit_gradients, setup_context=_keep_unit)
