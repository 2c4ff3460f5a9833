"""Trees of tensors and values, such as resume points, compared to the bit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Every place at which two trees of tensors and values are not the same to the bit."""
    if isinstance(one, Tensor):
        return [] if torch.equal(one, other) else [path]
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return [d for key in one for d in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        return [
            d
            for i, (a, b) in enumerate(zip(one, other, strict=True))
            for d in differences(a, b, f"{path}/{i}")
        ]
    return [] if one == other else [path]
