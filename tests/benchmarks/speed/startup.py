"""Times a run as a person starts it: seconds to its first step, its rate, and its peak memory.

Each is a process of its own: ``moco-tui pretrain`` with the notebook preset in an empty runs
folder, looked at through the run's own metric log, and stopped as Ctrl-C would stop it. On CUDA
losses come in blocks, so the first step in the log stands behind a block of 64.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.jobs.estimate import peak_memory

from .timing import Figure, table

HERE = Path(__file__).resolve().parents[3]
LIMIT = 300.0  # seconds that a start may take at most


def launch(
    data: str, data_dir: Path, device: str, threads: int, sets: Sequence[str], steps: int
) -> dict[str, float]:
    """One start.

    Args:
        data: as ``--data`` takes it.
        data_dir: where its cache lies.
        device: as ``--device`` takes it.
        threads: of the run.
        sets: further ``key=value`` settings.
        steps: when so many are in the log, the run is stopped.

    Returns:
        ``first_step_seconds`` from the launch to the time of the first step in the log;
        ``ms_per_step`` over the later half of the steps; ``peak_mebibytes`` of the process.

    Raises:
        SystemExit: when the command failed, or made no step in five minutes.
    """
    from engine.runs import RunFolder

    with tempfile.TemporaryDirectory() as place:
        command = [
            *(sys.executable, "-m", "moco_tui", "pretrain"),
            *("--runs-dir", place, "--data-dir", str(data_dir), "--device", device),
            *("--preset", "notebook", "--data", data, "--set", f"runtime.threads={threads}"),
        ]
        for text in sets:
            command += ["--set", text]
        known = os.environ.get("PYTHONPATH", "")
        environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{known}"}
        with tempfile.TemporaryFile() as words:
            began = time.time()
            process = subprocess.Popen(command, stdout=words, stderr=words, env=environment)
            times: list[float] = []
            peak = 0
            try:
                while len(times) < steps and time.time() - began < LIMIT:
                    time.sleep(0.1)
                    if process.poll() is not None:
                        words.seek(0)
                        raise SystemExit(f"the run ended: {words.read().decode()[-2000:]}")
                    for path in Path(place).glob("*/metrics.jsonl"):
                        log = RunFolder(path.parent).metrics()
                        log.poll()
                        times = list(log.times("train/loss"))
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                while process.poll() is None:  # saving the last checkpoint takes memory as well
                    peak = max(peak, peak_memory(process.pid))
                    time.sleep(0.005)
    if not times:
        raise SystemExit(f"no step within {LIMIT:.0f} s of the start")
    half = len(times) // 2
    return {
        "first_step_seconds": times[0] - began,
        "ms_per_step": 1000 * (times[-1] - times[half]) / max(1, len(times) - 1 - half),
        "peak_mebibytes": peak / 2**20,
    }


#: What is started: as the preset has it, and without kNN.
STARTS = {"notebook preset": [], "without kNN": ["monitor.knn_every=0"]}


def measure(
    data: str,
    data_dir: Path,
    device: str,
    threads: int,
    *,
    repeats: int,
    steps: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Both starts, in turns, after one that fills the caches of data and files."""
    launch(data, data_dir, device, threads, STARTS["without kNN"], 1)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in STARTS}
    for repeat in range(repeats):
        for name, sets in STARTS.items():
            found[name].append(launch(data, data_dir, device, threads, sets, steps))
            say(f"{repeat + 1}/{repeats} start, {name}: {found[name][-1]}")
    rows = [
        {"start": name, **{key: Figure.of([run[key] for run in runs]) for key in runs[0]}}
        for name, runs in found.items()
    ]
    return {"data": data, "rows": rows}


def show(result: dict[str, Any]) -> str:
    """The rows as a table."""
    head = ("start of a run", "s to the first step", "ms a step", "peak MiB of the process")
    lines = [
        (row["start"], row["first_step_seconds"], row["ms_per_step"], row["peak_mebibytes"])
        for row in result["rows"]
    ]
    return f"{table(head, lines)}\ndata: {result['data']}"
