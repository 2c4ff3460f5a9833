"""What the scripts for a card share: their options, calls timed as one graph, a case at a time."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

_WARM_UPS = 3

Measure = Callable[[], tuple[dict[str, Any], str]]
"""Measures a case: its figures by name, and what is shown of them."""


def options_of(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """A parser of what every script takes.

    Args:
        doc: of the script.
        quick: help of ``--quick``.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", nargs="?", type=float, default=math.inf)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "/tmp")))
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def device_name(device: torch.device) -> str:
    """For people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def microseconds(
    calls: Sequence[Callable[[], object]], device: torch.device, *, rounds: int, repeats: int
) -> float:
    """Of one of several calls that are made one after another, the least of some repetitions.

    Args:
        calls: at least one.
        device: where they compute; on CUDA they are recorded and replayed as one graph.
        rounds: how often all calls stand in the graph.
        repeats: replays, or on a CPU rounds, at least 1.
    """
    if device.type != "cuda":
        found = []
        for _ in range(repeats):
            began = time.perf_counter()
            for call in calls:
                call()
            found.append(1e6 * (time.perf_counter() - began) / len(calls))
        return min(found)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            for call in calls:
                call()
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(rounds):
            for call in calls:
                call()
    found = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize(device)
        found.append(1e3 * start.elapsed_time(end) / (rounds * len(calls)))
    return min(found)


def measure_all(cases: Iterable[tuple[str, Measure]], *, until: float, file: Path) -> int:
    """Measures, prints and writes cases, whatever becomes of one of them.

    Args:
        cases: label and measure of each.
        until: on the monotonic clock; no case is begun behind it.
        file: gets the figures, as a list in JSON.

    Returns:
        1 when a case failed, else 0.
    """
    rows, failed = [], False
    for label, measure in cases:
        if time.monotonic() > until:
            print(f"{label}: no time left", flush=True)
            continue
        try:
            row, shown = measure()
        except Exception as error:  # whatever it is, the other cases are measured
            failed = True
            print(f"{label} FAILED: {type(error).__name__}: {error}"[:600], flush=True)
            traceback.print_exc()
            continue
        print(shown, flush=True)
        rows.append(row)
    file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return int(failed)
