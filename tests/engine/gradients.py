"""Gradients that must be there."""

from __future__ import annotations

from torch import Tensor


def grad(tensor: Tensor) -> Tensor:
    """The gradient of a leaf that a backward pass has reached."""
    assert tensor.grad is not None
    return tensor.grad
