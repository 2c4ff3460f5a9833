"""How the kernels become operations of torch, and whether there are any."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef  # what the decorators give

HAS_TRITON = importlib.util.find_spec("triton") is not None
"""Whether the kernels can be compiled; a CPU does without."""
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton's interpreter runs the kernels, on CPU tensors."""


def operation(
    name: str, mutates_args: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], CustomOpDef]:
    """A decorator that makes a function an operation, seen through by torch.compile."""
    make = torch.library.triton_op if HAS_TRITON else torch.library.custom_op
    made: Callable[[Callable[..., Any]], CustomOpDef] = make(name, mutates_args=mutates_args)
    return made


def by_torch(x: Tensor) -> bool:
    """Whether torch's own operations compute, not the kernels."""
    return x.device.type == "cpu" and not INTERPRETED
