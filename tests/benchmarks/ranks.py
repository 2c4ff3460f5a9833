"""Times steps of a pretraining: several ranks beside one process.

    python tests/benchmarks/ranks.py [--ranks 2] [--device cpu|cuda] [--preset notebook]
        [--batch 512] [--steps 6] [--repeats 3] [--precision auto]

On the CPU the ranks have one thread each. In turn, and again as often as ``--repeats`` says: one
process with one thread, one process with as many threads as there are ranks (each as it is computed
by itself, and with the plain step that ranks take), and the ranks. On cards: one process on one
card (recorded as a graph, and with the plain step), and the ranks with a card each.

For each way the medians of: wall milliseconds a step, which other load on the machine changes, and
processor milliseconds a step of all processes together, which it changes less; and steps a second
over those of the ranks. The load average at the start says how busy the machine was.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.environment import with_packages

IMAGES = 4096


class Way(NamedTuple):
    """How the steps are computed.

    Attributes:
        name: for the table.
        ranks: processes.
        threads: of each.
        plain: by the plain step in any case.
    """

    name: str
    ranks: int
    threads: int
    plain: bool


class Took(NamedTuple):
    """Milliseconds a step."""

    wall: float
    processor: float


def ways(options: argparse.Namespace) -> list[Way]:
    ranks = options.ranks
    if options.device == "cuda":
        return [
            Way("1 card", 1, 4, plain=False),
            Way("1 card, plain step", 1, 4, plain=True),
            Way(f"{ranks} ranks, a card each", ranks, 4, plain=True),
        ]
    return [
        Way("1 process, 1 thread", 1, 1, plain=False),
        Way(f"1 process, {ranks} threads", 1, ranks, plain=False),
        Way(f"1 process, {ranks} threads, plain step", 1, ranks, plain=True),
        Way(f"{ranks} ranks, 1 thread each", ranks, 1, plain=True),
    ]


def child(options: argparse.Namespace) -> None:
    """Times steps in this process, alone or as one of several ranks; prints seconds as JSON."""
    import torch

    from engine.config.resolve import resolve
    from engine.config.schema import PretrainConfig
    from engine.machine.rank_place import rank_place
    from engine.pretrain.plain_step import PlainStep
    from engine.pretrain.pretraining import Pretraining
    from engine.pretrain.rank_step import RankStep
    from engine.runtime.device import apply_runtime, resolve_runtime
    from engine.runtime.rank_device import device_of_rank
    from engine.runtime.rank_meeting import join
    from engine.sink import NullSink

    place = rank_place()
    if place is not None:
        join(place, device_of_rank(place, (), options.device), {}).ready({}, NullSink())
    extra = {
        "optim.batch_size": options.batch,
        "runtime.device": options.device,
        "runtime.threads": options.threads,
        "runtime.precision": options.precision,
        "runtime.capture": "off" if options.plain else "recorded",
        "monitor.measures": False,
    }
    config = resolve(PretrainConfig, preset_name=options.preset, extra=extra)
    runtime = resolve_runtime(config.runtime)
    apply_runtime(runtime, deterministic=False)
    size = config.data.size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, size, size), dtype=torch.uint8, generator=generator)
    training = Pretraining(config, images, runtime)
    step = training.compute_step
    if options.plain and place is None:
        training.compute_step = PlainStep(training.state)
    if isinstance(step, RankStep) and not step.ranks.is_first:
        follow(training, step)
        return

    def seconds(steps: int) -> tuple[float, float]:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            loss = training.advance()
        float(loss)  # waits for a card
        return time.perf_counter() - wall, time.process_time() - processor

    training.prepare()
    seconds(2)
    wall, processor = seconds(options.steps)
    training.close()
    print(json.dumps({"wall": wall, "processor": processor, "kind": training.compute_step.kind}))


def follow(training: Any, step: Any) -> None:
    """As ``engine.pretrain.follow``; prints the processor seconds of the same steps."""
    done, began = 0, 0.0
    while True:
        command, shared = step.ranks.next_command()
        if command == "end":
            break
        if command == "share":
            step.take(shared)
            continue
        if done == 2:
            began = time.process_time()
        training.advance()
        done += 1
    print(json.dumps({"processor": time.process_time() - began}))


def once(options: argparse.Namespace, way: Way) -> Took:
    """Times a way, in processes of their own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, __file__, "--child", "--threads", str(way.threads)]
    for name in ("device", "preset", "batch", "steps", "precision"):
        command += [f"--{name}", str(getattr(options, name))]
    command += ["--plain"] if way.plain else []
    processes = []
    for rank in range(way.ranks):
        place = {"RANK": rank, "WORLD_SIZE": way.ranks, "LOCAL_RANK": rank}
        where = {name: str(value) for name, value in place.items()}
        where |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        environment = with_packages(**where)
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        )
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{way.name}: a process failed")
    found = [json.loads(text.splitlines()[-1]) for text in said]
    processor = sum(each["processor"] for each in found)
    return Took(1000 * found[0]["wall"] / options.steps, 1000 * processor / options.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--preset", default="notebook")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    print(
        f"{options.preset}, batch {options.batch}, {options.device}, {options.precision}; load "
        f"average {os.getloadavg()[0]:.1f}; medians of {options.repeats}"
    )
    took: dict[Way, list[Took]] = {way: [] for way in ways(options)}
    for _ in range(options.repeats):
        for way, times in took.items():  # in turn, so that a busy minute meets all of them
            times.append(once(options, way))
    middle = {
        way: Took(*(statistics.median(column) for column in zip(*times, strict=True)))
        for way, times in took.items()
    }
    ranks = middle[next(way for way in took if way.ranks > 1)]
    print(f"{'':44} {'wall ms':>9} {'processor ms':>13} {'ranks / this':>13}")
    for way, each in middle.items():
        ratio = each.wall / ranks.wall  # steps a second of the ranks over those of this way
        print(f"{way.name:44} {each.wall:9.0f} {each.processor:13.0f} {ratio:13.2f}")


if __name__ == "__main__":
    main()
