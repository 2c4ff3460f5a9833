"""Times a training step on a card, in every way it can be computed, and lists its kernels.

    python tests/benchmarks/card/step.py                         all presets and ways, on CUDA
    python tests/benchmarks/card/step.py 110 --out DIR           begin nothing new after 110 seconds
    python tests/benchmarks/card/step.py --device cpu --quick    whether this script still works

In the project's root, with the project's own Python; no data set is needed. For each preset and
way: milliseconds a step (on CUDA between two events), the host's share of them, memory, seconds
until 20 steps are done, the losses of these (ways must agree), and of five steps under
torch's profiler the kernels, their summed time and the dearest. ``DIR`` (``$OUT``, else ``/tmp``)
gets ``step.json`` and all kernels of each way, ``kernels-PRESET-WAY.txt``. Ends with 1 when a way
failed; the others are measured all the same.

Memory is given twice, in MiB: the largest amount that was in use at once until the 20 steps were
done, for checking, trying algorithms out and recording; and what the process holds while it trains
after that, the pool of a recorded step included.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
from torch.profiler import ProfilerActivity, profile

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.pretrain.kernel_step import KernelStep
from engine.pretrain.pretraining import Pretraining
from engine.runtime.device import apply_runtime, resolve_runtime
from tests.benchmarks.card.timed_cases import device_name, measure_all, options_of

PRESETS = ("notebook-small-angle", "resnet18-moco")
WAYS = {
    "eager": "off",
    "recorded": "recorded",
    "fused": "fused",
    "kernels": "kernels",
    "kernels-alone": "kernels",
}
"""What ``runtime.capture`` is in each way. A CPU records and fuses nothing: only the first.
``kernels-alone`` leaves the augmentations as they are written."""

# Fewer BatchNorm groups than threads: so a CPU, too, computes the whole batch in this thread, the
# only one that the profiler sees there.
QUICK = {
    "optim.batch_size": 16,
    "moco.queue_size": 64,
    "model.dim": 16,
    "model.bn_splits": 1,
    "runtime.threads": 3,
}


class Kernel(NamedTuple):
    """Of one name, averaged over the steps that were profiled."""

    name: str
    calls: float
    microseconds: float


class Amount(NamedTuple):
    """How much is measured."""

    images: int
    first: int
    timed: dict[str, int]
    profiled: int


FULL = Amount(50_000, first=20, timed={PRESETS[0]: 100, PRESETS[1]: 40}, profiled=5)
SMALL = Amount(64, first=2, timed=dict.fromkeys(PRESETS, 1), profiled=1)


class Timer:
    """Milliseconds that the device has worked since it was made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.began = time.perf_counter()
        if device.type == "cuda":
            self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.start.record()

    def host(self) -> float:
        """Milliseconds until now, of the host alone."""
        return 1e3 * (time.perf_counter() - self.began)

    def stop(self) -> float:
        """Waits for the device."""
        if self.device.type != "cuda":
            return self.host()
        self.end.record()
        torch.cuda.synchronize()
        milliseconds: float = self.start.elapsed_time(self.end)
        return milliseconds


def pictures(count: int) -> Tensor:
    """``(count, 3, 32, 32)`` uint8: coarse patches of colour under noise, 2,000 different ones."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    coarse = torch.rand(2000, 3, 4, 4, generator=generator)
    patches = F.interpolate(coarse, size=32, mode="bilinear").repeat(-(-count // 2000), 1, 1, 1)
    return (patches[:count] * 200).to(torch.uint8) + noise // 6


@contextmanager
def augmentations_as_written() -> Iterator[None]:
    """Inside, a step with kernels has its augmentations as they are written."""
    with patch.object(KernelStep, "_join_augmentations", lambda _: []):
        yield


def copy_rate(device: torch.device, size: int) -> float:
    """Terabytes a second that are read and written while ``size`` bytes are copied ten times."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    for _ in range(3):
        target.copy_(source)
    timer = Timer(device)
    for _ in range(10):
        target.copy_(source)
    return 2 * 10 * size / timer.stop() / 1e9


def kernels_of(training: Pretraining, steps: int) -> list[Kernel]:
    """Every kernel (on a CPU: operation of this thread) of a step, the dearest first."""
    cuda = training.state.runtime.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            training.advance()
        if cuda:
            torch.cuda.synchronize()
    kernels = []
    for event in profiler.key_averages():
        if cuda and event.device_type.name != "CUDA":
            continue
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        if spent > 0:
            kernels.append(Kernel(event.key, event.count / steps, spent / steps))
    return sorted(kernels, key=lambda kernel: -kernel.microseconds)


def measure(
    preset: str, capture: str, images: Tensor, amount: Amount, values: dict[str, Any]
) -> tuple[dict[str, Any], list[Kernel]]:
    """One way of one preset.

    Args:
        preset: its name.
        capture: ``runtime.capture``.
        images: as of ``pictures``.
        amount: steps of each part.
        values: further settings.

    Returns:
        The figures by name, and the kernels of a step.
    """
    extra = {**values, "runtime.capture": capture}
    config = resolve(PretrainConfig, preset_name=preset, extra=extra)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=config.runtime.deterministic)
    cuda = runtime.device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    training = Pretraining(config, images, runtime)
    try:
        notices = training.prepare()
        losses = torch.stack([training.advance() for _ in range(amount.first)]).tolist()
        ready = time.perf_counter() - began  # tolist has waited for the device
        peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else 0.0
        if cuda:
            torch.cuda.empty_cache()  # of what only getting ready took
            torch.cuda.reset_peak_memory_stats()
        steps = amount.timed[preset]
        timer = Timer(runtime.device)
        for _ in range(steps):
            training.advance()
        host, device = timer.host() / steps, timer.stop() / steps
        held = torch.cuda.max_memory_reserved() / 2**20 if cuda else 0.0
        kernels = kernels_of(training, amount.profiled)
        kind = training.compute_step.kind
    finally:
        training.close()
    figures = {
        "preset": preset,
        "kind": kind,
        "ms": device,
        "host_ms": host,
        "peak_mib": peak,
        "train_mib": held,
        "ready_s": ready,
        "kernels": sum(kernel.calls for kernel in kernels),
        "kernel_ms": sum(kernel.microseconds for kernel in kernels) / 1e3,
        "loss": losses,
        "notices": notices,
    }
    return figures, kernels


def show(way: str, figures: dict[str, Any], kernels: Sequence[Kernel]) -> str:
    """The figures in a line, and the twelve dearest kernels."""
    losses = figures["loss"]
    lines = [
        f"### {figures['preset']} {way} [{figures['kind']}] {figures['ms']:.3f} ms a step, host "
        f"{figures['host_ms']:.3f}, {figures['peak_mib']:.0f} MiB to get ready, "
        f"{figures['train_mib']:.0f} MiB to train, ready {figures['ready_s']:.1f} s, first loss "
        f"{losses[0]:.6f}, last {losses[-1]:.6f}, mean {sum(losses) / len(losses):.6f}; kernels "
        f"{figures['kernels']:.0f}, {figures['kernel_ms']:.3f} ms",
        *figures["notices"],
        *(f"  {line[:130]}" for line in kernel_lines(kernels[:12])),
    ]
    return "\n".join(lines)


def kernel_lines(kernels: Sequence[Kernel]) -> list[str]:
    """Microseconds a step, calls a step, name."""
    return [f"{k.microseconds:10.1f} us {k.calls:6.1f} x {k.name}" for k in kernels]


def main(words: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes; 1 when a way failed."""
    began = time.monotonic()
    options = options_of(__doc__, "a few steps of a tiny model").parse_args(words)
    amount = SMALL if options.quick else FULL
    device = torch.device(options.device)
    rate = copy_rate(device, 2**20 if options.quick else 2**30)
    said = f"{device_name(device)}, torch {torch.__version__}"
    print(f"{said}: copies {rate:.2f} TB/s", flush=True)

    values = {"runtime.device": options.device, **(QUICK if options.quick else {})}
    ways = WAYS if device.type == "cuda" else {"eager": "off"}
    images = pictures(amount.images)

    def measured(preset: str, way: str) -> tuple[dict[str, Any], str]:
        with augmentations_as_written() if way == "kernels-alone" else nullcontext():
            figures, kernels = measure(preset, ways[way], images, amount, values)
        listing = options.out / f"kernels-{preset}-{way}.txt"
        listing.write_text("\n".join(kernel_lines(kernels)) + "\n", encoding="utf-8")
        return {"way": way, **figures}, show(way, figures, kernels)

    return measure_all(
        (
            (f"### {preset} {way}", partial(measured, preset, way))
            for preset in PRESETS
            for way in ways
        ),
        until=began + options.seconds,
        file=options.out / "step.json",
    )


if __name__ == "__main__":
    sys.exit(main())
