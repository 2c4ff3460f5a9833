"""What a step costs, and how much memory, as one size after the other grows.

Every row is a process of its own, so that its peak memory is its own. The images are simulated:
the same drawn ones, as often as needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine.jobs.estimate import peak_memory

from . import ours, timing
from .timing import Figure

Values = dict[str, Any]
Point = tuple[float, Values, int]  # size, settings over the notebook preset, images

IMAGES = 8192  # of the rows in which their number is not what grows


def batch_size(most: int) -> list[Point]:
    """Pairs in a step."""
    sizes = [64, 128, 256, 512, 1024, 2048, 8192, 32768]
    return [(n, {"optim.batch_size": n}, max(n, IMAGES)) for n in sizes if n <= most]


def queue_size(most: int) -> list[Point]:
    """Keys in the queue."""
    sizes = [1 << power for power in (10, 12, 14, 16, 18, 20)]
    return [(n, {"moco.queue_size": n}, IMAGES) for n in sizes if n <= most]


def images(most: int) -> list[Point]:
    """Training images."""
    return [(n, {}, n) for n in (1_000, 10_000, 100_000, 1_000_000) if n <= most]


def dim(most: int) -> list[Point]:
    """Width of the embedding: of the head, the queue and the logits."""
    return [(n, {"model.dim": n}, IMAGES) for n in (64, 128, 512, 2048, 4096) if n <= most]


SWEEPS: dict[str, Callable[[int], list[Point]]] = {
    "batch_size": batch_size,
    "queue_size": queue_size,
    "images": images,
    "dim": dim,
}
# The width of the ConvNet itself is fixed (it is the notebook's); the wider net is this one.
ENCODERS: list[tuple[str, Values, int]] = [
    ("convnet, batch 64", {"optim.batch_size": 64}, IMAGES),
    ("resnet18, batch 64", {"optim.batch_size": 64, "model.encoder": "resnet18"}, IMAGES),
]


def one(values: Values, count: int, *, repeats: int, seconds: float) -> dict[str, Any]:
    """One row, in this process; peak memory is that of the process, or of the CUDA device.

    Args:
        values: settings over the notebook preset, device and threads among them.
        count: images.
        repeats: laps, two at least; fewer when together they would take more than a minute.
        seconds: the least that a lap lasts.
    """
    pictures = ours.pictures(count)
    began = time.perf_counter()
    training, runtime = ours.start(values, pictures)
    made = time.perf_counter() - began
    way = ours.Ours(training, warm=1)
    laps: list[timing.Lap] = []
    with timing.opened(way):
        end = time.perf_counter() + 60
        while len(laps) < 2 or (len(laps) < repeats and time.perf_counter() < end):
            laps.append(timing.lap(way.step, runtime.device, seconds=seconds, least=1))
    way_of = training.compute_step.kind
    training.close()
    cuda = runtime.device.type == "cuda"
    return {
        "ms": Figure.of([1000 * timing.wall(turn) for turn in laps]),
        "processor_ms": Figure.of([1000 * timing.work(turn) for turn in laps]),
        "mebibytes": (
            torch.cuda.max_memory_allocated(runtime.device) if cuda else peak_memory(os.getpid())
        )
        / 2**20,
        "start_seconds": made,
        "way": way_of,
        "repeats": len(laps),
    }


def apart(
    script: Path,
    values: Values,
    count: int,
    *,
    repeats: int,
    seconds: float,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """``one`` in a process of its own, which ``script`` opens with ``row`` and a JSON text.

    ``environment`` is added to this process's.

    Gives a row with ``error`` in place of figures when that process failed.
    """
    spec = {"values": values, "count": count, "repeats": repeats, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, str(script), "row", json.dumps(spec)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        # The last line of a traceback names the exception.
        return {"error": (done.stderr.strip().splitlines() or ["no word"])[-1][:200]}
    row: dict[str, Any] = json.loads(done.stdout)
    for key in ("ms", "processor_ms"):
        row[key] = Figure(**row[key])
    return row


def sweep(
    name: str,
    base: Values,
    script: Path,
    *,
    most: int,
    repeats: int,
    seconds: float,
    ways: list[str],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The rows of one sweep, with the exponents by which step and memory grew.

    ``ways`` are values of ``MOCO_TUI_NATIVE`` (``on``, ``off``, a level): each size is timed in all
    of them, one after the other, and each is a row of its own. Empty: as the process is.
    """
    rows = []
    points = SWEEPS[name](most) if name in SWEEPS else ENCODERS
    for size, values, count in points:
        merged = {**base, **values}
        if count < merged.get("optim.batch_size", 512):
            merged["optim.batch_size"] = 512
        for way in ways or [""]:
            environment = {"MOCO_TUI_NATIVE": way} if way else {}
            row = apart(
                script, merged, count, repeats=repeats, seconds=seconds, environment=environment
            )
            rows.append({"size": size, "native": way, **row})
            say(f"{name} {size} {way}: {row.get('ms') or row['error']}")
    for way in (ways or [""]) if name in SWEEPS else []:
        good = [row for row in rows if "ms" in row and row["native"] == way]
        sizes = [row["size"] for row in good]
        for key, of in (("ms_growth", "ms"), ("processor_growth", "processor_ms")):
            costs = [row[of].median for row in good]
            for row, value in zip(good, timing.growth(sizes, costs), strict=True):
                row[key] = value
    return rows


def show(name: str, rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    head = (
        name,
        "kernels",
        "ms a step",
        "processor ms",
        "grew as size to the",
        "peak MiB",
        "set up, s",
    )
    lines = []
    for row in rows:
        size = f"{row['size']:,}" if isinstance(row["size"], int) else row["size"]
        if "error" in row:
            lines.append((size, row["native"], f"failed: {row['error']}", "", "", "", ""))
            continue
        growth = row.get("processor_growth")
        lines.append(
            (
                size,
                row["native"],
                row["ms"],
                row["processor_ms"].median,
                "" if growth is None else f"{growth:.2f}",
                f"{row['mebibytes']:,.0f}",
                row["start_seconds"],
            )
        )
    return timing.table(head, lines)
