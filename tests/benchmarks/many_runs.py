"""Times what a person and a trainer wait for in folders of many runs: list, filter, sort, changes.

    python tests/benchmarks/many_runs.py [--sizes 10000,100000] [--repeats N] [--dir DIR] [--json]

For each size a folder of run folders is made (``storage.make_runs``, and five studies), measured in
fresh processes, and removed. Processor time of the process, all threads, in milliseconds; the
median over the repeats. Memory is the most that a process held. The app runs without a terminal,
at 160x45; "screen" is what its one thread does, in which keys wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from engine.history.changes import INDEX_NAME
from engine.history.history import History
from engine.history.index import note_change
from engine.runs import RunFolder
from engine.runs.record import decode_record, encode_record
from tests.benchmarks.storage import make_runs, make_studies

SIZE = (160, 45)


class Timings:
    """Milliseconds of processor time by what was done, in order.

    Args:
        repeats: calls that count; one before them does not.
    """

    def __init__(self, repeats: int) -> None:
        self.rows: dict[str, float] = {}
        self._repeats = repeats

    def once(self, what: str, work: Callable[[], object]) -> None:
        """Of one call, the first."""
        began = time.process_time()
        work()
        self.rows[what] = 1000 * (time.process_time() - began)

    def of(
        self, what: str, work: Callable[[], object], before: Callable[[], object] | None = None
    ) -> None:
        """The median of some calls."""
        found = []
        for number in range(self._repeats + 1):
            if before is not None:
                before()
            began = time.process_time()
            work()
            if number:
                found.append(1000 * (time.process_time() - began))
        self.rows[what] = statistics.median(found)

    async def of_async(
        self,
        what: str,
        work: Callable[[], Awaitable[object]],
        before: Callable[[], object] | None = None,
    ) -> None:
        """The median of some calls of a coroutine."""
        found = []
        for number in range(self._repeats + 1):
            if before is not None:
                before()
            began = time.process_time()
            await work()
            if number:
                found.append(1000 * (time.process_time() - began))
        self.rows[what] = statistics.median(found)


def change(root: Path, run: str, step: int) -> None:
    """Another step in the record of a run, as its owner writes it each second."""
    folder = RunFolder(root / run)
    record = decode_record(folder.record_path.read_bytes(), folder.record_path)
    record.step, record.status = step, "running"
    path = folder.path / "run.json.new"
    path.write_bytes(encode_record(record))
    path.rename(folder.record_path)


def measure(root: Path, part: str, repeats: int) -> dict[str, Any]:
    """A part of what is measured of a folder: ``commands`` or ``app``."""
    times = Timings(repeats)
    some = RunFolder(root / "r00007")
    if part == "app":
        asyncio.run(_app(root, some, times))
        return {"times": times.rows, "memory": {"most memory of the app, MiB": peak_memory()}}
    times.once("index made anew from the folders", lambda: History(root).reindex())
    times.of("list of a new process (every folder's times checked)", lambda: History(root).list())
    _lists(root, times)
    times.of("one status change, for the trainer's process", lambda: note_change(some, 10.0))
    return {
        "times": times.rows,
        "index": (root / INDEX_NAME).stat().st_size,
        "memory": {"most memory of reindex and lists, MiB": peak_memory()},
    }


def _lists(root: Path, times: Timings) -> None:
    """What a command does that lists or filters, by itself: the app keeps its own entries."""
    history = History(root)
    history.list()
    times.of("list again", history.list)
    times.of("filter knn>60 queue_size=4096", lambda: history.list("knn>60 queue_size=4096"))


def peak_memory() -> int:
    """The most that this process has held, in bytes, as Linux counts it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


async def _app(root: Path, live: RunFolder, times: Timings) -> None:
    """The app over the folder, with one run that changes as one that is trained does."""
    from textual.widgets import Input

    from moco_tui.app import MocoApp
    from moco_tui.screens import listing_screen
    from moco_tui.screens.runs_screen import RunsScreen
    from moco_tui.session import Session
    from moco_tui.widgets.run_filter import RunFilter

    listing_screen.REFRESH_SECONDS = 3600.0  # the polls below are the only ones
    session = Session(root, data_dir=root, read_only=False)
    began = time.process_time()
    app = MocoApp(session)
    async with app.run_test(size=SIZE) as pilot:
        while not session.runs.loaded:
            await pilot.pause(0.05)
        await pilot.pause()
        times.rows["app: started, list shown"] = 1000 * (time.process_time() - began)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        runs = session.runs
        while not screen._warm:
            await pilot.pause(0.05)
        await app.workers.wait_for_complete()
        at = [0]

        def step() -> None:
            at[0] += 1
            change(root, live.id, at[0])

        lock = live.take_lock()  # else it would count as lost
        assert lock is not None
        step()
        runs.refresh(full_every=0.0)
        assert runs.rows[live.id].status == "running"
        times.of("app, thread: a look when nothing has changed", runs.refresh)
        times.of("app, thread: a look when a live run has another step", runs.refresh, step)
        times.of("app, thread: a look at every folder", lambda: runs.refresh(full_every=0.0))

        def other_process() -> None:
            step()
            note_change(live, 10.0)

        times.of("app, thread: after a status change elsewhere", runs.refresh, other_process)

        async def shown() -> None:
            screen.show_rows()
            await pilot.pause()

        def looked() -> None:
            step()
            runs.refresh()

        await times.of_async("app, screen: a live run has another step", shown, looked)

        async def pressed(key: str) -> None:
            await pilot.press(key)
            await pilot.pause()

        await times.of_async("app, screen: sorted by another column", lambda: pressed("]"))
        await times.of_async("app, screen: the order reversed", lambda: pressed("O"))
        await times.of_async("app, screen: the cursor one line down", lambda: pressed("down"))
        await times.of_async("app, screen: the cursor to the end and back", lambda: ends(pilot))

        async def typed() -> None:
            field = screen.query_one(RunFilter)
            wanted = "" if field.text else "knn>60"
            field.query_one(Input).value = wanted
            while field.text != wanted:
                await pilot.pause()
            await pilot.pause()

        await times.of_async("app, screen: a filter typed or cleared", typed)


async def ends(pilot: Any) -> None:
    """To the last line and to the first."""
    await pilot.press("end")
    await pilot.press("home")
    await pilot.pause()


def in_processes(root: Path, repeats: int) -> dict[str, Any]:
    """``measure`` in fresh processes: their memory is that of this folder alone."""
    command = [sys.executable, "-m", "tests.benchmarks.many_runs", "--one", str(root)]
    found: dict[str, Any] = {"times": {}, "memory": {}}
    for part in ("commands", "app"):
        done = subprocess.run(
            [*command, "--part", part, "--repeats", str(repeats)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        one = json.loads(done.stdout.splitlines()[-1])
        found["times"] |= one.pop("times")
        found["memory"] |= one.pop("memory")
        found |= one
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dir", type=Path, default=None, help="file system to measure on")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=Path, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--part", default="commands", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measure(args.one, args.part, args.repeats)))
        return
    sizes, found = [int(size) for size in args.sizes.split(",")], []
    for size in sizes:
        work = Path(tempfile.mkdtemp(dir=args.dir))
        try:
            make_runs(work / "runs", size)
            make_studies(work / "runs", size)
            found.append(in_processes(work / "runs", args.repeats))
        finally:
            shutil.rmtree(work)
    if args.json:
        print(json.dumps(dict(zip(sizes, found, strict=True))))
        return
    print("| | " + " | ".join(f"{size:,} runs" for size in sizes) + " | ratio |")
    print("|---" * (len(sizes) + 2) + "|")
    for what in found[0]["times"]:
        values = [one["times"][what] for one in found]
        _row(f"{what}, ms", values)
    _row("index, MB", [one["index"] / 1e6 for one in found])
    for what in found[0]["memory"]:
        _row(what, [one["memory"][what] / 2**20 for one in found])


def _row(what: str, values: list[float]) -> None:
    ratio = f"{values[-1] / values[0]:.1f}" if values[0] else ""
    print(f"| {what} | " + " | ".join(f"{value:.4g}" for value in values) + f" | {ratio} |")


if __name__ == "__main__":
    main()
