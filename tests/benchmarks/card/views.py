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

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

# The project is above this file, or, where the file was copied elsewhere, the current folder.
sys.path.insert(
    0,
    str(next((f for f in Path(__file__).resolve().parents if (f / "engine").is_dir()), Path.cwd())),
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
        spent = microseconds(way, images, numbers)
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


def microseconds(way: Way, images: list[Tensor], numbers: list[Tensor]) -> float:
    """Of one call; on CUDA, all are one graph."""
    if images[0].device.type != "cuda":
        began = time.perf_counter()
        for each in zip(images, numbers, strict=True):
            way(*each)
        return 1e6 * (time.perf_counter() - began) / TURNS
    aside = torch.cuda.Stream()
    with torch.cuda.stream(aside):
        for each in zip(images, numbers, strict=True):
            way(*each)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [way(*each) for each in zip(images, numbers, strict=True)]
    graph.replay()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    repeats = 20
    start.record()
    for _ in range(repeats):
        graph.replay()
    end.record()
    torch.cuda.synchronize()
    milliseconds: float = start.elapsed_time(end)
    return 1e3 * milliseconds / (repeats * len(kept))


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


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", nargs="?", type=float, default=float("inf"))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "/tmp")))
    parser.add_argument("--quick", action="store_true", help="a few views of few pixels")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes; 1 when a case failed."""
    options, began = arguments(words), time.monotonic()
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else str(device)
    print(f"{name}, torch {torch.__version__}", flush=True)
    rows, failed = [], False
    for case in cases(options.quick, cuda):
        if time.monotonic() - began > options.seconds:
            print(f"{case.name}: no time left", flush=True)
            continue
        try:
            row = measure(case, device)
        except Exception as error:  # whatever it is, the other cases are timed
            failed = True
            print(f"{case.name} FAILED: {type(error).__name__}: {error}"[:600], flush=True)
            traceback.print_exc()
            continue
        print(row, flush=True)
        rows.append(row._asdict())
    (options.out / "views.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
