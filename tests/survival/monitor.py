"""Leaves the monitor open for a simulated day, and checks that its memory does not grow.

    python tests/survival/monitor.py [--hours 24] [--every 1] [--rate 10]

A fast fake trainer writes so many steps a simulated second (with kNN, epochs, checkpoints, log
lines and side work now and then) into a real run folder; the real app, on a screen of 120x40
cells, looks at it and draws every so many simulated seconds. A screen keeps a bounded number of
points (``charts.series.MOST_POINTS``), which at ten steps a second are there after 7 hours, are
halved, and are there again after 15. So the memory of the process, every allocation and all
fragmentation included, must peak no higher in the second half of the day than it did in the first
(but for ``NOISE``), and no kind of object may have become more with the looks. As in the app, the C
library is asked to hand freed memory back.
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

from engine.config.resolve import resolve
from engine.config.schema import PretrainConfig
from engine.runs import RunFolder, RunOwner, create, own
from engine.runtime.malloc import hand_back_freed_memory
from engine.sink import Plan
from moco_tui.app import MocoApp
from moco_tui.charts.drawing import Drawing
from moco_tui.screens.monitor_screen import MonitorScreen
from moco_tui.session import Session
from moco_tui.widgets.chart import Chart

STEPS_PER_EPOCH = 97
NOISE = 2 * 2**20
"""Bytes by which two peaks may differ: pages that the allocator holds or gives back. A thing of 48
bytes that every look left behind would make as much of half a day."""
OBJECTS_A_LOOK = 0.05


@dataclass
class Growth:
    """What changed after the looks that count as warming up.

    Attributes:
        looks: how often the monitor looked after it.
        before, after: the largest memory of the process, in bytes, up to there and from there on.
        points: points in the log in the end.
        objects: how many more there are in the end, by the name of their type.
    """

    looks: int
    before: int
    after: int
    points: int
    objects: Counter[str]

    def left(self, a_look: float) -> dict[str, int]:
        """The kinds of objects that became more by at least ``a_look`` for every look.

        Tuples are left out: the caches of the library, which are of bounded size, are made of them.
        """
        return {n: k for n, k in self.objects.items() if k > a_look * self.looks and n != "tuple"}


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
    run: RunFolder,
    looks: int,
    every: int,
    rate: int,
    warm_up: int,
    say: Callable[[str], None],
) -> Growth:
    """Opens the monitor for so many looks; what has grown.

    Args:
        run: a run that is queued.
        looks: of the monitor.
        every: simulated seconds between two of them.
        rate: steps of the trainer a simulated second.
        warm_up: looks that fill caches.
        say: called with a line for every hour.
    """
    app = MocoApp(Session(run.path.parent, data_dir=run.path.parent))
    with own(run) as owner:
        owner.transition("running")
        owner.plan(
            Plan(
                total_steps=looks * every * rate + 1,
                steps_per_epoch=STEPS_PER_EPOCH,
                pairs_per_step=512,
                chance=16.6,
            )
        )
        async with app.run_test(size=(120, 40)) as pilot:
            screen = MonitorScreen(app.session, run)
            app.push_screen(screen)
            while not screen.loaded:
                await pilot.pause(0.01)
            drawn = DrawCount(screen.query_one("#loss", Chart))
            began, step, points, peaks = time.monotonic(), 1, 0, [0, 0]
            objects: Counter[str] = Counter()
            for look in range(1, looks + 1):
                points += train(owner, step, step + every * rate)
                step += every * rate
                screen.tick()
                await pilot.pause(0)
                if look == warm_up:
                    objects = census()
                second = look * every
                if second % 300 < every or look in (warm_up, looks):
                    half = int(look > warm_up)
                    now = memory()
                    peaks[half] = max(peaks[half], now)
                    if second % 3600 < every:
                        say(
                            f"after {second // 3600:2d} h: {now / 2**20:6.2f} MiB, largest "
                            f"{peaks[half] / 2**20:6.2f}; {points:,} points written, "
                            f"{len(screen.log_reader.series('train/loss')[0]):,} of the loss kept "
                            f"({time.monotonic() - began:.0f} s)"
                        )
            assert drawn.times > 0.9 * looks, f"drawn {drawn.times} times in {looks} looks"
            more = census()
            more.subtract(objects)
            return Growth(looks - warm_up, peaks[0], peaks[1], points, more)


class DrawCount:
    """Counts how often a chart is drawn."""

    def __init__(self, chart: Chart) -> None:
        self.times = 0
        inner = chart.drawn

        def count(width: int, height: int) -> Drawing:
            self.times += 1
            return inner(width, height)

        chart.drawn = count  # type: ignore[method-assign]


def main() -> int:
    """A simulated day; 0 when the memory did not grow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--every", type=int, default=1, help="simulated seconds between looks")
    parser.add_argument("--rate", type=int, default=10, help="steps a simulated second")
    options = parser.parse_args()
    hand_back_freed_memory()
    looks = int(options.hours * 3600) // options.every
    with tempfile.TemporaryDirectory(prefix="moco-monitor-") as place:
        config = resolve(PretrainConfig, preset_name="quick")
        run = create(Path(place), "pretrain", config, name="a day")
        grown = asyncio.run(
            watch(
                run,
                looks,
                options.every,
                options.rate,
                looks // 2,
                lambda line: print(line, flush=True),
            )
        )
    left = grown.left(OBJECTS_A_LOOK)
    print(
        f"{options.hours:g} h, {looks} looks, {grown.points:,} points: at most "
        f"{grown.before / 2**20:.2f} MiB in the first half, {grown.after / 2**20:.2f} in the "
        f"second; objects that grew with the looks: {left or 'none'}; most: "
        f"{grown.objects.most_common(3)}"
    )
    return 0 if grown.after < grown.before + NOISE and not left else 1


if __name__ == "__main__":
    sys.exit(main())
