"""What the history of the devices costs a training: a sample, a day of them, and its reading.

    python tests/benchmarks/devices.py [--samples 300] [--cards N]

Prints milliseconds of the thread that takes samples (its own processor time, and by the clock, in
which it mostly waits for the kernel or the driver), what share of one core that is at one sample in
10 s, bytes of a sample, and how long a history of the largest size takes to be read and thinned
out. The machine is read as it is: with NVIDIA cards all of them are, unless ``--cards 0`` leaves
them out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.config.run_schema import LogConfig
from engine.machine.load_reader import LoadReader
from engine.runs.device_log import DeviceLog
from engine.runs.device_recorder import DeviceRecorder
from engine.runs.device_writer import MOST_BYTES
from tests.machine_loads import write_history

EVERY = LogConfig().device_seconds


def take_samples(folder: Path, count: int, cards: list[str] | None) -> None:
    """Samples as a training takes them, one after the other without the time between them."""
    began = time.perf_counter()
    reader = LoadReader(cards)
    ready = time.perf_counter() - began
    path = folder / "devices.jsonl"
    recorder = DeviceRecorder(path, EVERY, lambda: reader)
    own, wall = [], []
    for _ in range(count):
        before, clock = time.thread_time(), time.perf_counter()
        recorder.sample(reader.read(), time.time())
        own.append(1e3 * (time.thread_time() - before))
        wall.append(1e3 * (time.perf_counter() - clock))
    print(f"{len(reader.read().cards)} cards; ready after {1e3 * ready:.0f} ms")
    print(
        f"a sample: {statistics.median(own):.2f} ms of its thread, "
        f"{statistics.median(wall):.2f} ms by the clock (slowest of {count}: {max(wall):.1f} ms)"
    )
    print(f"at one in {EVERY} s: {statistics.mean(own) / (10 * EVERY):.4f} % of a core")
    print(f"bytes a sample: {path.stat().st_size / count:.0f}")
    reader.close()


def read_the_largest(folder: Path) -> None:
    """A history that is about to be thinned out, of one card."""
    path = folder / "largest.jsonl"
    count = 0
    while not path.exists() or path.stat().st_size < MOST_BYTES - 60_000:
        write_history(path, [0.1234 + i % 50 / 100 for i in range(400)], began=1.7e9 + 5000 * count)
        count += 1
    log = DeviceLog(path)
    began = time.perf_counter()
    log.poll()
    read = time.perf_counter() - began
    print(
        f"the largest history: {path.stat().st_size / 2**20:.1f} MiB, {len(log.seconds):,} samples "
        f"({len(log.seconds) * EVERY / 86_400:.1f} days at one in {EVERY} s), read in {read:.2f} s"
    )
    began = time.perf_counter()
    write_history(path, [0.5] * 2000, began=1.8e9)
    log.poll()
    thin = time.perf_counter() - began
    print(f"thinned out to {path.stat().st_size / 2**20:.1f} MiB in {thin:.2f} s, reading included")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--cards", type=int, choices=[0], default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        take_samples(Path(folder), options.samples, [] if options.cards == 0 else None)
        read_the_largest(Path(folder))


if __name__ == "__main__":
    main()
