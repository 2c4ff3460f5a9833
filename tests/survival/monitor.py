"""Leaves the monitor open for a simulated day and measures its memory.

    python tests/survival/monitor.py [--hours 24] [--every 1]

A fast fake trainer writes a step a simulated second (with kNN, epochs, checkpoints, log lines and
side work now and then) into a real run folder; the real app, on a screen of 120x40 cells, looks at
it every so many simulated seconds. What grows must be the points: 32 bytes each in the reader, and
some more in the curves made of them. The rest of the process must not, nor the number of objects.
Prints a line for every simulated hour; exit code 0 when it held.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import psutil

from engine.config import PretrainConfig
from engine.presets import resolve
from engine.runs import RunFolder, RunOwner, create, own
from engine.sink import Plan
from moco_tui.app import MocoApp
from moco_tui.screens.monitor import MonitorScreen

STEPS_PER_EPOCH = 97
POINT_BYTES = 32
COPIES = 4
"""How often a point may be in memory: in the reader, its curve, and what a drawing makes of it."""
RESERVE = 6 * 2**20
"""Bytes that caches of bounded size, and the allocator, may take beside the points."""


@dataclass
class Growth:
    """What came between the end of the warming up and the end.

    Attributes:
        looks: how often the monitor looked.
        memory, points: bytes of the process, and of the points that were written.
        objects: how many more there are, by the name of their type.
    """

    looks: int
    memory: int
    points: int
    objects: Counter[str]

    @property
    def allowed(self) -> bool:
        """Whether it is no more than was promised."""
        return self.memory < RESERVE + COPIES * self.points


def train(owner: RunOwner, first: int, last: int) -> int:
    """Steps ``first`` to ``last - 1``; the number of points written."""
    points = 0
    for step in range(first, last):
        values = {"train/loss": 9 + 7 / step, "train/lr": 0.06}
        if step % STEPS_PER_EPOCH == 0:
            values["train/epoch_loss"] = 9 + 7 / step
        points += len(values)
        owner.metrics(step, step / STEPS_PER_EPOCH, values)
        if step % (10 * STEPS_PER_EPOCH) == 0:
            owner.progress("kNN", 0, 10)
            owner.metrics(step, step / STEPS_PER_EPOCH, {"knn/top1": 40 + step % 7})
            points += 1
            owner.progress("kNN", 10, 10)
            owner.log(f"kNN after step {step}")
        if step % 300 == 0:
            owner.checkpointed(step)
    owner.flush(sync=False)
    return points


def memory() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def census() -> Counter[str]:
    """The objects of this process by the names of their types."""
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects())


async def watch(
    run: RunFolder, hours: float, every: int, warm_up: int, say: Callable[[str], None]
) -> Growth:
    """Opens the monitor for so long; what has grown.

    Args:
        run: a run that is queued.
        hours: simulated.
        every: simulated seconds between two looks.
        warm_up: looks before the first measurement, which fill caches.
        say: told the state of every hour.
    """
    seconds = int(hours * 3600)
    app = MocoApp(run.path.parent, data_dir=run.path.parent)
    with own(run) as owner:
        owner.transition("running")
        owner.plan(
            Plan(
                total_steps=seconds + 1,
                steps_per_epoch=STEPS_PER_EPOCH,
                pairs_per_step=512,
                chance=16.6,
            )
        )
        async with app.run_test(size=(120, 40)) as pilot:
            screen = MonitorScreen(run)
            app.push_screen(screen)
            while not screen.loaded:
                await pilot.pause(0.01)
            began, start, points, step, looks = time.monotonic(), 0, 0, 1, 0
            objects = census()
            while step < seconds:
                new = train(owner, step, min(step + every, seconds))
                step += every
                screen.tick()
                await pilot.pause()
                looks += 1
                if looks == warm_up:
                    start, points, objects = memory(), 0, census()
                elif looks > warm_up:
                    points += new
                    if (step - 1) // 3600 > (step - 1 - every) // 3600:
                        grown = (memory() - start) / 2**20
                        say(
                            f"after {step // 3600:2d} h: {grown:6.2f} MiB more, "
                            f"{points * POINT_BYTES / 2**20:6.2f} MiB of it points "
                            f"({time.monotonic() - began:.0f} s)"
                        )
            assert screen.log_reader.last("train/loss") is not None
            more = census()
            more.subtract(objects)
            return Growth(looks - warm_up, memory() - start, points * POINT_BYTES, more)


def main() -> int:
    """A simulated day; 0 when the memory stayed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--every", type=int, default=1, help="simulated seconds between looks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moco-monitor-") as place:
        config = resolve(PretrainConfig, preset_name="quick")
        run = create(Path(place), "pretrain", config, name="a day")
        grown = asyncio.run(
            watch(run, options.hours, options.every, 300, lambda line: print(line, flush=True))
        )
    print(
        f"{options.hours:g} h, {grown.looks} looks: {grown.memory / 2**20:.2f} MiB more for "
        f"{grown.points / 2**20:.2f} MiB of points; objects: {grown.objects.most_common(3)}"
    )
    return 0 if grown.allowed else 1


if __name__ == "__main__":
    sys.exit(main())
