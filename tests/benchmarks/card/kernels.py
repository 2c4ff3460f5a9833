"""Times each kernel of a step on a card alone, beside torch's own and beside its bytes.

    python tests/benchmarks/card/kernels.py                         every case, on CUDA
    python tests/benchmarks/card/kernels.py 60 --tiles              with other tiles, for 60 seconds
    python tests/benchmarks/card/kernels.py --only stem             cases with "stem" in their names
    TRITON_INTERPRET=1 python tests/benchmarks/card/kernels.py --device cpu --quick
                                                                    whether this script still works

In the project's root, with the project's own Python; no data set is needed. The shapes are those of
the presets notebook-small-angle and resnet18-moco, in bfloat16. A line of the table: microseconds
of ours, of torch (cuDNN) for the same, of the bytes alone at the rate at which a copy moves them,
and how often ours takes that. Calls are recorded as a CUDA graph, so the host's time is not in it,
and go through several copies of their inputs in turn, so that no cache holds those of the last
call. With ``--tiles`` each line is followed by other choices of tile, unroll, warps and programs
that beat the one in ``engine/kernels/choices.py``, the best first. ``DIR`` (``$OUT``, else
``/tmp``) gets ``kernels.json``. Ends with 1 when a case failed; the others are timed all the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

# The project is above this file (``tests`` has an ``engine`` too), or, where the
# file was copied elsewhere, the current folder.
sys.path.insert(
    0,
    str(
        next(
            (p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists()),
            Path.cwd(),
        )
    ),
)

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.kernels import choices
from engine.kernels.choices import CHOICES, KernelChoice
from engine.kernels.group_block import (
    group_statistics,
    norm_apply,
    norm_backward,
    pooled_apply,
    pooled_backward,
)
from engine.kernels.group_tiles import bytes_moved
from engine.kernels.stem_block import stem, stem_backward
from tests.benchmarks.card.timed_cases import device_name, measure_all, microseconds, options_of

BF16 = 2
"""Bytes of a value."""
COLD = 400 << 20
"""Bytes that calls go through before they come back to the first: eight times the cache (H200)."""
SPLITS, EPS, MOMENTUM, DROPOUT = 8, 1e-5, 0.1, 0.1

Call = Callable[[], Any]


class Case(NamedTuple):
    """What is timed.

    Attributes:
        name: of the kernel, or of what it is part of.
        shape: for people.
        bytes: that are read and written at least.
        kernels: in ``CHOICES``, whose tiles ``--tiles`` tries; more than one share the choice.
        make: gives inputs to ours and to torch's, each of them a call; torch's may be missing.
    """

    name: str
    shape: str
    bytes: int
    kernels: tuple[str, ...]
    make: Callable[[torch.device], tuple[Call, Call | None]]


class Row(NamedTuple):
    """Of a case, microseconds; of other choices those that beat ours."""

    name: str
    shape: str
    ours: float
    torchs: float | None
    copied: float
    better: list[tuple[float, KernelChoice]]


def cases(quick: bool) -> Iterator[Case]:
    """Every case, those of the notebook first. A new kernel is added here."""
    images, halves = (16, 8) if quick else (1024, 512)
    first, *others = [(3, 6, 6, 0)] if quick else [(32, 30, 30, 0), (64, 13, 13, 0), (128, 4, 4, 0)]
    yield from stem_cases(images, first[0], first[1] + 2, 0, 2)
    for c, h, w, _ in (first, *others):
        yield from pooled_cases(images, c, h, w)
    resnet = [(3, 4, 4)] if quick else [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    yield from stem_cases(halves, resnet[0][0], resnet[0][1], 1, 1)
    for c, h, w in resnet:
        yield from norm_cases(halves, c, h, w)


def stem_cases(n: int, c: int, side: int, padding: int, views: int) -> Iterator[Case]:
    """The first convolution, of views as a step in bfloat16 has them, and its weights' gradient."""
    out = side + 2 * padding - 2
    moved = n * (3 * side * side + c * out * out) * BF16
    shape = f"{n}x3x{side}x{side} to {c}"

    def forward(device: torch.device) -> tuple[Call, Call]:
        x, weight = values((n, 3, side, side), device), weights(c, device)
        return (
            lambda: stem(x, weight, padding, views, SPLITS, True),
            lambda: F.conv2d(x, weight.bfloat16(), padding=padding),
        )

    def backward(device: torch.device) -> tuple[Call, Call]:
        x, grad = values((n, 3, side, side), device), values((n, c, out, out), device)
        weight = weights(c, device).bfloat16()
        ones, wanted = [1, 1], [False, True, False]
        return (
            lambda: stem_backward(grad, x, padding),
            lambda: torch.ops.aten.convolution_backward(
                grad, x, weight, None, ones, [padding] * 2, ones, False, [0, 0], 1, wanted
            ),
        )

    yield Case("stem", shape, moved, ("stem",), forward)
    yield Case("stem_gradient", shape, moved, ("stem_gradient",), backward)


def pooled_cases(n: int, c: int, h: int, w: int) -> Iterator[Case]:
    """BatchNorm of both views, dropout, pooling and ReLU."""
    moved = bytes_moved(n, c, h, w, size=BF16, pooled=True)
    shape = f"{n}x{c}x{h}x{w}"

    def made(device: torch.device) -> tuple[Tensor, list[Tensor], Tensor]:
        x = values((n, c, h, w), device)
        return x, by_channel(2 * SPLITS, c, device), torch.ones(1, dtype=torch.int64, device=device)

    def apply(device: torch.device) -> tuple[Call, None]:
        x, parameters, seed = made(device)
        return lambda: pooled_apply(x, *parameters, seed, 2, DROPOUT, True), None

    def apply_keys(device: torch.device) -> tuple[Call, None]:
        x, parameters, seed = made(device)
        return lambda: pooled_apply(x, *parameters, seed, 2, DROPOUT, False), None

    def backward(device: torch.device) -> tuple[Call, None]:
        x, parameters, seed = made(device)
        out, winner = pooled_apply(x, *parameters, seed, 2, DROPOUT, True)
        return lambda: pooled_backward(out, x, winner, *parameters[:3], 2, DROPOUT), None

    yield statistics_case(n, c, h, w, 2)
    yield Case("pooled_apply", shape, moved["apply"], ("pooled_apply",), apply)
    keys = bytes_moved(n, c, h, w, size=BF16, pooled=True, gradient=False)["apply"]
    yield Case("pooled_apply, keys", shape, keys, ("pooled_apply",), apply_keys)
    both = moved["reduce"] + moved["backward"]
    kernels = ("pooled_reduce", "pooled_backward")
    yield Case("pooled_reduce, pooled_backward", shape, both, kernels, backward)


def norm_cases(n: int, c: int, h: int, w: int) -> Iterator[Case]:
    """BatchNorm of one view and ReLU, without and with a residual."""
    shape = f"{n}x{c}x{h}x{w}"
    yield statistics_case(n, c, h, w, 1)
    for residual in (False, True):
        moved = bytes_moved(n, c, h, w, size=BF16, pooled=False, residual=residual)
        said = ", residual" if residual else ""

        def apply(device: torch.device, residual: bool = residual) -> tuple[Call, None]:
            x, parameters = values((n, c, h, w), device), by_channel(SPLITS, c, device)
            other = values((n, c, h, w), device) if residual else None
            return lambda: norm_apply(x, other, *parameters, 1, True), None

        def backward(device: torch.device, residual: bool = residual) -> tuple[Call, None]:
            x, parameters = values((n, c, h, w), device), by_channel(SPLITS, c, device)
            grad = values((n, c, h, w), device)
            out = values((n, c, h, w), device) if residual else None
            return lambda: norm_backward(grad, x, out, *parameters, 1, True), None

        yield Case(f"apply{said}", shape, moved["apply"], ("apply",), apply)
        both = moved["reduce"] + moved["backward"]
        yield Case(f"reduce, backward{said}", shape, both, ("reduce", "backward"), backward)


def statistics_case(n: int, c: int, h: int, w: int, views: int) -> Case:
    """Those of BatchNorm's groups; torch's have one group."""

    def make(device: torch.device) -> tuple[Call, Call]:
        x = values((n, c, h, w), device)
        running = (torch.zeros(c, device=device), torch.ones(c, device=device))
        count = torch.zeros((), dtype=torch.int64, device=device)
        return (
            lambda: group_statistics(x, *running, count, views, SPLITS, EPS, MOMENTUM),
            lambda: torch.var_mean(x, dim=(0, 2, 3), correction=0),
        )

    return Case("statistics", f"{n}x{c}x{h}x{w}", n * c * h * w * BF16, ("statistics",), make)


def values(
    shape: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> Tensor:
    made = torch.randn(shape, device=device).to(dtype)
    return made.contiguous(memory_format=torch.channels_last)


def weights(c: int, device: torch.device) -> Tensor:
    return torch.randn(c, 3, 3, 3, device=device).contiguous(memory_format=torch.channels_last)


def by_channel(groups: int, c: int, device: torch.device) -> list[Tensor]:
    """Mean and inverse of the groups, weight and bias."""
    zeros, ones = torch.zeros(c, device=device), torch.ones(c, device=device)
    return [zeros.repeat(groups, 1), ones.repeat(groups, 1), ones, zeros]


def other_choices(choice: KernelChoice) -> Iterator[KernelChoice]:
    """Those that ``--tiles`` tries: of each thread 4 to 32 values."""
    for warps in (4, 8):
        for each in (4, 8, 16, 32):
            for unroll in sorted({1, choice.unroll, 2 * choice.unroll}):
                for programs in (264, 528, 1056, 2112):
                    other = KernelChoice(32 * warps * each, unroll, warps, programs)
                    if other != choice and each * unroll <= 32:
                        yield other


@contextmanager
def chosen(kernels: Sequence[str], choice: KernelChoice) -> Iterator[None]:
    """Inside, these kernels are launched like that."""
    with patch.dict(choices.CHOICES, dict.fromkeys(kernels, choice)):
        yield


def spent_on(calls: Sequence[Call], device: torch.device) -> float:
    """Microseconds of one call."""
    return microseconds(calls, device, rounds=2, repeats=4 if device.type == "cuda" else 1)


def copy_rate(device: torch.device, size: int) -> float:
    """Bytes a microsecond that are read and written while ``size`` bytes are copied."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / spent_on([lambda: target.copy_(source)], device)


def timed(case: Case, device: torch.device, rate: float, *, tiles: bool, until: float) -> Row:
    """One case; other choices are begun only before ``until``."""
    copies = max(1, min(8, COLD // case.bytes)) if device.type == "cuda" else 1
    made = [case.make(device) for _ in range(copies)]
    ours = [call for call, _ in made]
    torchs = [call for _, call in made if call is not None]
    found = spent_on(ours, device)
    better = []
    for choice in other_choices(CHOICES[case.kernels[0]]) if tiles else ():
        if time.monotonic() > until:
            break
        with chosen(case.kernels, choice):
            try:
                other = spent_on(ours, device)
            except Exception as error:  # of a tile that does not fit
                print(f"  {choice} failed: {type(error).__name__}", flush=True)
                continue
        if other < found:
            better.append((other, choice))
    return Row(
        case.name,
        case.shape,
        found,
        spent_on(torchs, device) if torchs else None,
        case.bytes / rate,
        sorted(better)[:3],
    )


def show(row: Row) -> str:
    """The line of a case, and those of choices that beat ours."""
    torchs = f"{row.torchs:9.1f}" if row.torchs is not None else f"{'-':>9}"
    lines = [
        f"{row.name:32} {row.shape:22} {row.ours:9.1f} {torchs} {row.copied:9.1f} "
        f"{row.ours / row.copied:7.2f}"
    ]
    lines += [f"  {spent:9.1f} us by {choice}" for spent, choice in row.better]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Times, prints, and writes; 1 when a case failed."""
    began = time.monotonic()
    parser = options_of(__doc__, "a few tiny shapes")
    parser.add_argument("--only", default="", help="a part of the names of the cases to be timed")
    parser.add_argument("--tiles", action="store_true", help="try other tiles, too")
    options = parser.parse_args(words)
    device, until = torch.device(options.device), began + options.seconds
    rate = copy_rate(device, 2**16 if options.quick else 2**30)
    said = f"{device_name(device)}, torch {torch.__version__}"
    print(f"{said}: copies {rate / 1e6:.2f} TB/s", flush=True)
    print(f"{'microseconds':55} {'ours':>9} {'torch':>9} {'bytes':>9} {'ratio':>7}", flush=True)
    todo = [case for case in cases(options.quick) if options.only in case.name]

    def measured(number: int, case: Case) -> tuple[dict[str, Any], str]:
        # What is left is shared among the cases that are left.
        now = time.monotonic()
        share = (until - now) / (len(todo) - number)
        row = timed(case, device, rate, tiles=options.tiles, until=now + share)
        return row._asdict(), show(row)

    return measure_all(
        (
            (f"{case.name} {case.shape}", partial(measured, number, case))
            for number, case in enumerate(todo)
        ),
        until=until,
        file=options.out / "kernels.json",
    )


if __name__ == "__main__":
    sys.exit(main())
