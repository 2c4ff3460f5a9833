"""The operations of a step, joined into fewer kernels by torch.compile.

Launched as they are written, the operations around the convolutions (augmenting, normalising by
groups, dropout, pooling) each read and write whole activations, and that is most of what a GPU
spends on a small net. The compiler joins neighbours, so that a value is read once and written once.
https://docs.pytorch.org/docs/stable/torch.compiler.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

BACKEND = "inductor"
"""What makes the kernels: torch's own compiler (Triton on CUDA, C++ on a CPU)."""

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compile_on_call(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """``function`` with its operations fused, compiled when it is first called.

    The shapes of its tensors should stay what they are in that call: others are compiled anew.
    Rounding differs from that of the operations one by one, and dropout draws other bits. This call
    and the first of what it returns belong inside ``engine.runtime.compiling``.

    Raises:
        Exception: of many kinds, here or in the first call, where the compiler, or what it needs
            (a C compiler, Triton), is not there or fails.
    """
    return torch.compile(function, dynamic=False, backend=BACKEND)


def drop_compiled() -> None:
    """Gives back everything that was compiled in this process.

    torch compiles a function for at most 8 objects or shapes (``torch._dynamo.config.
    recompile_limit``); runs that follow one another in a process would reach that. The kernels stay
    on disk, so the next run of the same shapes starts sooner.
    """
    torch.compiler.reset()
