"""Times the views of a step on a card: by the kernel in Triton, compiled, and as they are written.

    python tests/benchmarks/card/views.py                         every case, on CUDA: a minute
    python tests/benchmarks/card/views.py 40                      begin nothing new after 40 seconds
    python tests/benchmarks/card/views.py --device cpu --quick    whether this script still works

In the project's root, with the project's own Python; no data set is needed. The first cases are the
augmentations of the preset notebook-small-angle for 512 pairs of 32 x 32 pixels, then all six at
twice the side. A line: microseconds for all views of a step, recorded as a CUDA graph, through
several copies of the images in turn; the kernels that are launched; the bytes that have to be read
and written, and that many in a second; seconds until a first call has ended; and how far the views
are from those as written, largest and as a share of their length. ``DIR`` (``$OUT``, else
``/tmp``) gets ``views.json``. Ends with 1 when a case failed; the others are timed all the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from engine.augment.augmenter import Augmenter, normalise
from engine.augment.kernel_augmenter import KernelAugmenter
from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.kernels import view_plan
from engine.runtime.compiled import compile_on_call
from engine.runtime.compiling import compiling
from tests.benchmarks.card.timed_cases import device_name, measure_all, microseconds, options_of

PRESET = "notebook-small-angle"
EVERY = {
    "augment.flip.enabled": True,
    "augment.grayscale.enabled": True,
    "augment.blur.kernel_size": 7,
}
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
TURNS = 8
"""Copies of the inputs that calls go through: 8 steps are more than a card's cache holds."""

Way = Callable[[Tensor, Tensor], Tensor]


class Case(NamedTuple):
    """What is timed.

    Attributes:
        name: for people.
        pairs: of a step.
        size: height and width, in pixels.
        settings: beside those of the preset.
        way: written, compiled or kernel.
        bfloat16: whether the kernel writes it.
        pixels: of a thread, of the kernel.
    """

    name: str
    pairs: int
    size: int
    settings: dict[str, Any]
    way: str
    bfloat16: bool = False
    pixels: int = view_plan.PIXELS_A_THREAD


class Row(NamedTuple):
    """Of a case, what was measured; see above."""

    name: str
    microseconds: float
    kernels: float
    megabytes: float
    ready_s: float
    largest: float
    share: float

    def __str__(self) -> str:
        rate = self.megabytes / self.microseconds  # MB/us are TB/s
        return (
            f"{self.name:44} {self.microseconds:9.1f} us {self.kernels:5.0f} kernels "
            f"{self.megabytes:6.1f} MB {rate:6.3f} TB/s, ready {self.ready_s:5.1f} s, off by "
            f"{self.largest:.1e} ({self.share:.1e})"
        )


def cases(quick: bool, cuda: bool) -> Iterator[Case]:
    """Every case, the dearest to prepare last."""
    pairs, sizes = (4, (8, 8)) if quick else (512, (32, 64))
    kinds: list[tuple[int, dict[str, Any], str]] = [
        (sizes[0], {}, "the preset"),
        (sizes[1], EVERY, "every one"),
    ]
    for size, settings, what in kinds:
        told = f"{what}, {2 * pairs} of {size}x{size}"
        for bfloat16 in (True, False):
            kind = "bfloat16" if bfloat16 else "float32"
            yield Case(f"{told}: kernel, {kind}", pairs, size, settings, "kernel", bfloat16)
        for pixels in (2, 8):
            name = f"{told}: kernel, {pixels} pixels a thread"
            yield Case(name, pairs, size, settings, "kernel", True, pixels)
        yield Case(f"{told}: as written", pairs, size, settings, "written")
    if cuda:
        told = f"the preset, {2 * pairs} of {sizes[0]}x{sizes[0]}"
        yield Case(f"{told}: compiled", pairs, sizes[0], {}, "compiled")


def measure(case: Case, device: torch.device) -> Row:
    """Times a case."""
    config = resolve(PretrainConfig, preset_name=PRESET, extra=case.settings)
    augmenter = Augmenter(config.augment, size=case.size)
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)
    images, numbers = inputs(augmenter, case, device)

    def written(images: Tensor, numbers: Tensor) -> Tensor:
        params = augmenter.params(numbers)
        made = augmenter.apply(torch.cat([images, images]), params, dense=True)
        return normalise(made, mean, std).contiguous(memory_format=torch.channels_last)

    with patch.object(view_plan, "PIXELS_A_THREAD", case.pixels), compiling():
        kernel = KernelAugmenter(augmenter, (case.size, case.size), mean, std)
        dtype = torch.bfloat16 if case.bfloat16 else torch.float32
        ways: dict[str, Callable[[], Way]] = {
            "written": lambda: written,
            "compiled": lambda: compile_on_call(written),
            "kernel": lambda: lambda images, numbers: kernel(images, numbers, dtype),
        }
        began = time.perf_counter()
        way = ways[case.way]()
        views = way(images[0], numbers[0])
        if device.type == "cuda":
            torch.cuda.synchronize()
        ready = time.perf_counter() - began
        calls = [partial(way, *each) for each in zip(images, numbers, strict=True)]
        spent = microseconds(calls, device, rounds=1, repeats=20 if device.type == "cuda" else 1)
        launched = launches(way, images[0], numbers[0])
    expected = written(images[0], numbers[0])
    off = views.float() - expected
    moved = images[0].nbytes + numbers[0].nbytes + views.nbytes
    return Row(
        case.name,
        spent,
        launched,
        moved / 1e6,
        ready,
        float(off.abs().max()),
        float(off.norm() / expected.norm()),
    )


def inputs(
    augmenter: Augmenter, case: Case, device: torch.device
) -> tuple[list[Tensor], list[Tensor]]:
    """Images with some structure, and uniform numbers, for ``TURNS`` calls."""
    generator = torch.Generator().manual_seed(0)
    images, numbers = [], []
    for _ in range(TURNS):
        coarse = torch.rand(case.pairs, 3, 4, 4, generator=generator)
        fine = torch.nn.functional.interpolate(coarse, case.size, mode="bilinear")
        noise = torch.rand(fine.shape, generator=generator)
        images.append((200 * fine + 55 * noise).to(torch.uint8).to(device))
        numbers.append(augmenter.uniform_numbers(2 * case.pairs, generator).to(device))
    return images, numbers


def launches(way: Way, images: Tensor, numbers: Tensor) -> float:
    """Kernels of a call; on a CPU, operations."""
    cuda = images.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        way(images, numbers)
        if cuda:
            torch.cuda.synchronize()
    wanted = "CUDA" if cuda else "CPU"
    events = [event for event in profiler.key_averages() if event.device_type.name == wanted]
    return float(sum(event.count for event in events))


def main(words: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes; 1 when a case failed."""
    began = time.monotonic()
    options = options_of(__doc__, "a few views of few pixels").parse_args(words)
    device = torch.device(options.device)
    print(f"{device_name(device)}, torch {torch.__version__}", flush=True)

    def measured(case: Case) -> tuple[dict[str, Any], str]:
        row = measure(case, device)
        return row._asdict(), str(row)

    todo = cases(options.quick, device.type == "cuda")
    return measure_all(
        ((case.name, partial(measured, case)) for case in todo),
        until=began + options.seconds,
        file=options.out / "views.json",
    )


if __name__ == "__main__":
    sys.exit(main())
