"""Times a small study on the CPU: one worker with all cores beside several with a part each.

    python tests/benchmarks/study_workers.py [--workers 2] [--repeats 3] [--images 2048]
        [--epochs 3] [--encoder ENCODER] [--data-dir DIR]

The study has four pretrainings on shapes with one probe each, as the command runs it, processes and
their start included. In turn: one worker with a thread for each core, then ``--workers`` that
divide the cores. For each: the wall seconds, the cells an hour, and the processor seconds of all
processes by the steps of the pretrainings, which other load on the machine changes less. The load
average before each says how busy the machine was with other things.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.environment import with_packages

_PR_SET_CHILD_SUBREAPER = 36
PRETRAININGS, BATCH = 4, 128


def spent() -> float:
    """Processor seconds of all children that were waited for, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def once(options: argparse.Namespace, workers: int) -> tuple[float, float]:
    """Wall and processor seconds of one study."""
    given = {
        "queue_sizes": "1000,2000",
        "seeds": "0,1",
        "label_fractions": 0.5,
        "tasks": "all",
        "heads": "logistic",
        "subset_seeds": 0,
        "baselines": "pixels",
        "pretrain.data.limit": options.images,
        "pretrain.optim.epochs": options.epochs,
        "pretrain.optim.batch_size": BATCH,
        "pretrain.monitor.knn_every": 0,
        "pretrain.model.encoder": options.encoder,
        "workers": workers,
    }
    sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as runs:
        command = ["--runs-dir", runs, "--data-dir", str(options.data_dir), "study"]
        wall, used = time.perf_counter(), spent()
        subprocess.run(
            [sys.executable, "-m", "moco_tui", *command, "--device=cpu", "--data=shapes", *sets],
            env=with_packages(),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall = time.perf_counter() - wall
        with contextlib.suppress(
            ChildProcessError
        ):  # workers that outlived the command for moments
            while True:
                os.waitpid(-1, 0)
    return wall, spent() - used


def main() -> None:
    """Prints a line for each study, then the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--encoder", default="convnet")
    parser.add_argument("--data-dir", type=Path, default=Path(tempfile.gettempdir()) / "shapes")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    steps = PRETRAININGS * options.epochs * (options.images // BATCH)
    cells = PRETRAININGS + 1
    found: dict[int, list[tuple[float, float]]] = {1: [], options.workers: []}
    for _ in range(options.repeats):
        for workers, times in found.items():
            load = os.getloadavg()[0]
            wall, used = once(options, workers)
            times.append((wall, used))
            print(
                f"{workers} workers: {wall:.1f} s, {3600 * cells / wall:.0f} cells an hour, "
                f"{1000 * used / steps:.0f} ms of processor a step (load before: {load:.1f})",
                flush=True,
            )
    for workers, times in found.items():
        walls, all_used = zip(*times, strict=True)
        print(
            f"{workers} workers, median: {statistics.median(walls):.1f} s "
            f"({min(walls):.1f} to {max(walls):.1f}), "
            f"{1000 * statistics.median(all_used) / steps:.0f} ms of processor a step"
        )


if __name__ == "__main__":
    main()
