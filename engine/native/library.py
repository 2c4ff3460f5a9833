"""The library of kernels: whether it was built, and for which instructions.

It is an extension module only so that installation builds it and keeps it with the package; its
functions are called through ctypes, which lets other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from ctypes import c_float, c_int, c_int64, c_uint64, c_void_p
from typing import Any

import torch

LEVELS = ("plain", "avx2", "avx512", "avx512_bf16")
"""Instructions that the kernels are compiled for, each a superset of those before it."""
OFF = "off"
"""In place of a level: no kernels."""
SWITCH = "MOCO_TUI_NATIVE"
"""Environment variable: ``off``, or the best level to use; without it the fastest that there is."""

PAIR_PRODUCTS = "avx512_bf16"
"""The level that multiplies pairs of bfloat16 values, of which the queue's products are made."""

_P, _I, _N, _F = c_void_p, c_int, c_int64, c_float
_SIGNATURES: dict[str, list[Any]] = {
    "moco_levels": [],
    "moco_statistics": [_I, _I, _P, _N, _N, _N, _F, _P, _P, _P],
    "moco_apply": [_I, _I, _P, _P, _P, _P, _P, _P, _N, _N, _I],
    "moco_apply_pooled": [_I, _I, _P, _P, _P, _P, _P, _P, _N, _N, _N, _N, _I, c_uint64, _N],
    "moco_pooled": [_I, _I, _P, _P, _P, _F, _P, _P, _P, _P, _P, *[_N] * 4, _I, c_uint64],
    "moco_augment": [_I, _I, _P, _P, _P, _P, _P, _P, _P, _N, _N, _N],
    "moco_logsumexp": [_I, _P, _P, _P, _F, _P, _P, _N, _N, _N],
    "moco_info_nce": [_I, _P, _P, _P, _P, _F, _F, _P, _P, _N, _N, _N],
    "moco_pack_keys": [_I, _P, _P, _P, _N, _N, _N, _N],
    "moco_convolve": [_I, _P, _P, _P, _N, _N, _N, _N, _N],
    "moco_convolve_backward": [_I, _P, _P, _P, _N, _N, _N, _N, _N],
    "moco_add_gradient": [_I, _P, _P, _P, _N, _N, _N, _N, _N],
    "moco_take_gradient": [_I, _P, _P, _N, _N],
    "moco_backward": [_I, _I, _P, _P, _P, _P, _P, _P, _P, _P, _P, _P, _N, _N, _N],
    "moco_backward_sums": [_I, _I, _P, _P, _P, _P, _P, _N, _N, _N],
    "moco_backward_apply": [_I, _I, _P, _P, _P, _P, _P, _P, _P, _N, _N],
    "moco_backward_pooled_sums": [_I, _I, _P, _P, _P, _P, _P, _N, _N, _N, _N],
    "moco_backward_pooled_apply": [_I, _I, _P, _P, _P, _P, _P, _P, _N, _N, _N, _N],
    "moco_combine_statistics": [_P, _P, _P, _N, _N, _F, _P, _P, _P],
    "moco_combine_sums": [_P, _N, _N, _P, _P, _N, _F, _N, _P, _P, _P],
    "moco_normalise": [_P, _P, _P, _P, _N, _N],
    "moco_backward_pooled": [_I, _I, _P, _P, _P, _P, _P, _P, _F, _P, _P, _P, _N, _N, _N, _N],
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels, or None where they were not built."""
    try:
        found = importlib.util.find_spec("engine.native._kernels")
    except (ImportError, ValueError):
        return None
    if found is None or not found.origin:
        return None
    try:
        kernels = ctypes.CDLL(found.origin)
        for name, arguments in _SIGNATURES.items():
            function = getattr(kernels, name)
            function.argtypes, function.restype = arguments, c_int
    except (OSError, AttributeError):  # built for another machine, or by another version
        return None
    return kernels


def available() -> str:
    """The best level that processor and build allow; ``off`` where no kernels were built.

    ``ATEN_CPU_CAPABILITY``, by which torch's own kernels are held back, holds these back as well.
    """
    kernels = library()
    if kernels is None:
        return OFF
    torch_level = os.environ.get("ATEN_CPU_CAPABILITY", "")
    most = {"default": 0, "avx2": 1}.get(torch_level, len(LEVELS) - 1)
    best: int = min(kernels.moco_levels() - 1, most)
    return LEVELS[best]


def level() -> str:
    """The level that a new run uses: the best of those up to what the environment asks for.

    Where it asks for none and torch multiplies tiles, the level before ``PAIR_PRODUCTS``: with the
    convolutions of torch a step of the ConvNet takes 0.6 of the processor time there.
    """
    wanted = os.environ.get(SWITCH, "") or "on"
    if wanted == "on":
        wanted = LEVELS[LEVELS.index(PAIR_PRODUCTS) - 1] if multiplies_tiles() else LEVELS[-1]
    best = available() if wanted in LEVELS else OFF
    if best == OFF:
        return OFF
    return LEVELS[min(LEVELS.index(best), LEVELS.index(wanted))]


def multiplies_tiles() -> bool:
    """Whether torch's convolutions and products in bfloat16 use the processor's AMX here."""
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() or "DEFAULT"
    if isa != "DEFAULT" and "AMX" not in isa:
        return False
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.11 or so
    return bool(get_capabilities and get_capabilities().get("amx_bf16"))


def level_number(level: str) -> int:
    """What the kernels call a level, one of ``LEVELS``: 1 for the first."""
    return LEVELS.index(level) + 1


def call(name: str, *arguments: Any) -> None:
    """Call a kernel.

    Args:
        name: without its prefix.
        arguments: as its declaration in ``kernels.c`` has them; pointers as ``data_ptr`` gives
            them, None for no pointer.

    Raises:
        MemoryError: when it finds no memory for its sums.
    """
    kernels = library()
    assert kernels is not None
    if getattr(kernels, f"moco_{name}")(*arguments) != 0:
        raise MemoryError("a kernel has no memory for its sums")
