"""Times the app in a real pseudo-terminal, beside ``wandb leet`` on the same numbers.

    python tests/benchmarks/app.py                          the app alone
    python tests/benchmarks/app.py --leet "/tmp/w/bin/wandb leet"     side by side, in turns
    python tests/benchmarks/app.py --only first-paint,keys --repeats 9

Prints a table (``--json`` for JSON): time to the first painted screen that shows what was asked
for (ours: the runs by name, leet: the metrics by name), time until a run of 242,500 steps is drawn
whole, median from a key to its paint, and steps per second of a small training without a screen
and with the monitor on it. On a machine that does other work too, the processor seconds tell more:
those of all processes of a program until the first paint, and those of a training step, of which
the share of the thread that draws is printed. Every figure is a median of the repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import select
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.pseudo_terminal import Terminal

HERE = Path(__file__).resolve().parents[2]
STEPS = 242_500
SIZE = (160, 45)
SAMPLE_SECONDS = 0.25  # between two readings of a process's processor time


class Session(Terminal):
    """A program in a pseudo-terminal; times are from its start."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        super().__init__(command, environment, SIZE)
        self.raw = b""

    def pump(self, seconds: float) -> bool:
        """Read what there is within so many seconds; False when nothing came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:
            return False
        self.raw += data
        self.stream.feed(data)
        # Primary device attributes: a terminal answers, and some programs wait for that.
        if b"\x1b[c" in data:
            os.write(self.master, b"\x1b[?62;c")
        return True

    def seconds_until(self, condition: Callable[[str], bool], seconds: float = 60.0) -> float:
        """Seconds from the start until the screen shows something."""
        end = time.perf_counter() + seconds
        while not condition(self.text):
            if time.perf_counter() > end:
                raise SystemExit(f"it never came so far:\n{self.text}")
            self.pump(0.05)
        return time.perf_counter() - self.began

    def read_until_quiet(self, quiet: float = 0.5) -> None:
        """Read until nothing comes for ``quiet`` seconds, for at most three seconds."""
        end = time.perf_counter() + 3
        while self.pump(quiet) and time.perf_counter() < end:
            pass

    def key(self, key: bytes) -> float:
        """Milliseconds from a key until the first byte painted for it."""
        while self.pump(0.0):
            pass
        start = time.perf_counter()
        os.write(self.master, key)
        select.select([self.master], [], [], 5)
        spent = time.perf_counter() - start
        self.pump(0.05)
        return 1000 * spent

    def drain(self, ended: Callable[[], bool], every: float, seconds: float) -> None:
        """Read what is painted, without making a screen of it, until something has ended.

        A person's terminal is another program, mostly on another machine: what pyte would compute
        here must not take processor time from the training that is timed.
        """
        end = time.perf_counter() + seconds
        while not ended():
            if time.perf_counter() > end:
                raise SystemExit("the training never ended")
            again = time.perf_counter() + every
            while (left := again - time.perf_counter()) > 0:
                if select.select([self.master], [], [], left)[0]:
                    os.read(self.master, 1 << 16)


def environment() -> dict[str, str]:
    known = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "PYTHONPATH": f"{HERE}{os.pathsep}{known}" if known else str(HERE),
        "WANDB_MODE": "offline",
    }


def loss(step: int) -> float:
    """The curve both programs draw: falling, with noise that is always the same."""
    return 9 + 8 * math.exp(-step / 50_000) + (step * 7919 % 97) / 97


def long_run(root: Path, steps: int) -> None:
    """A finished run of so many steps."""
    from engine.config.resolve import resolve
    from engine.config.schema import PretrainConfig
    from engine.runs import create, own
    from engine.runs.metric_writer import encode_line
    from engine.sink import Plan

    config = resolve(PretrainConfig, preset_name="notebook")
    folder = create(root, "pretrain", config, name="long", preset="notebook")
    with own(folder) as owner:
        owner.transition("running")
        owner.plan(Plan(total_steps=steps, steps_per_epoch=97, pairs_per_step=512, chance=16.6))
        owner.metrics(steps, steps / 97, {"train/loss": loss(steps)})
        owner.transition("finished")
    lines = (
        encode_line(step, step / 97, 1.7e9 + step, {"train/loss": loss(step), "train/lr": 0.06})
        for step in range(1, steps + 1)
    )
    folder.metrics_path.write_bytes(b"".join(lines))


def wandb_run(folder: Path, python: str, steps: int) -> Path:
    """The same curve as an offline run of wandb; returns its .wandb file."""
    code = (
        "import math, wandb\n"
        f"run = wandb.init(mode='offline', project='bench', dir={str(folder)!r})\n"
        f"for s in range(1, {steps} + 1):\n"
        "    run.log({'train/loss': 9 + 8*math.exp(-s/50000) + (s*7919 % 97)/97, 'train/lr': .06},"
        " step=s)\n"
        "run.finish()\n"
    )
    subprocess.run([python, "-c", code], check=True, capture_output=True, env=environment())
    return next(folder.rglob("*.wandb"))


def app(root: Path) -> list[str]:
    return [sys.executable, "-m", "moco_tui", "--runs-dir", str(root), "--data-dir", str(root)]


def first_paint(command: Sequence[str], shows: str) -> tuple[float, float]:
    """Seconds to the first screen that shows something, and processor seconds until then."""
    session = Session(command, environment())
    try:
        seconds, used = session.seconds_until(lambda text: shows in text), 0.0
        process = psutil.Process(session.process.pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                used += sum(each.cpu_times()[:4])  # user and system, and those of ended children
        return seconds, used
    finally:
        session.close()


def app_long(root: Path) -> tuple[float, float]:
    """Seconds to the drawn curve from Enter, and from the start of the program."""
    session = Session(app(root), environment())
    try:
        session.seconds_until(lambda text: "long" in text)
        session.read_until_quiet(0.3)
        start = time.perf_counter()
        os.write(session.master, b"\r")
        # The axis reaches the last steps, and a curve (in Braille) is drawn: in the monitor, since
        # the table has a preview beside it.
        session.seconds_until(
            lambda text: (
                "Monitor" in text and "200k" in text and any(0x2800 < ord(c) < 0x2900 for c in text)
            )
        )
        return time.perf_counter() - start, time.perf_counter() - session.began
    finally:
        session.close()


def leet_long(command: Sequence[str], seconds: float = 60.0) -> float:
    """Seconds from its start until leet's picture of the same run no longer changes."""
    session = Session(command, environment())
    last, before = session.began, ""
    try:
        while time.perf_counter() - session.began < seconds:
            session.pump(0.1)
            charts = "".join(c for c in session.text if 0x2800 <= ord(c) < 0x2900)
            if charts != before:
                last, before = time.perf_counter(), charts
            elif before and time.perf_counter() - last > 3:
                break
        return last - session.began
    finally:
        session.close()


def key_times(command: Sequence[str], ready: Callable[[str], bool], keys: list[bytes]) -> float:
    session = Session(command, environment())
    try:
        session.seconds_until(ready)
        session.read_until_quiet()
        times = []
        for _ in range(15):
            for key in keys:
                times.append(session.key(key))
                session.read_until_quiet(0.05)
        return statistics.median(times)
    finally:
        session.close()


class Usage:
    """The processor seconds of a process while a run goes on, by the clock that its log has."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.process = psutil.Process(pid)
        self.samples: list[tuple[float, float, float]] = []

    def sample(self) -> None:
        """The time, the seconds of the process, and those of its first thread, which draws."""
        with contextlib.suppress(psutil.Error):
            first = next(t for t in self.process.threads() if t.id == self.pid)
            times = self.process.cpu_times()
            drawing = first.user_time + first.system_time
            self.samples.append((time.time(), times.user + times.system, drawing))

    def between(self, start: float, stop: float) -> tuple[float, float, float]:
        """What came between the first and the last sample within these times."""
        inside = [sample for sample in self.samples if start <= sample[0] <= stop]
        return tuple(b - a for a, b in zip(inside[0], inside[-1], strict=True))  # type: ignore[return-value]


class Training(NamedTuple):
    """What a small training gave.

    Attributes:
        rate: steps a second.
        used: processor seconds a step.
        drawing: share of these that the first thread took, which draws; in [0, 1].
    """

    rate: float
    used: float
    drawing: float


def training(root: Path, steps: int, device: str, *, screen: bool) -> Training:
    """A small training without or with the monitor, by its own log, after its first quarter."""
    from engine.config.presets import preset
    from engine.config.resolve import build
    from engine.config.schema import PretrainConfig
    from engine.runs import create

    values = {
        **preset("quick").values,
        "data.limit": 2560,
        "optim.epochs": 1 + steps // 10,
        "optim.stop_epoch": max(steps // 10, 1),
        "monitor.knn_every": 0,
        "runtime.device": device,
    }
    folder = create(root, "pretrain", build(PretrainConfig, values), name="speed", preset="quick")
    if screen:
        session = Session(app(root), environment())
        try:
            session.seconds_until(lambda text: "speed" in text)
            os.write(session.master, b"r")
            usage = Usage(session.process.pid)

            def ended() -> bool:
                usage.sample()
                return folder.record().status == "finished"

            session.drain(ended, SAMPLE_SECONDS, 1200)
        finally:
            session.close()
    else:
        command = [*app(root)[:3], "_train", str(folder.path), "--data-dir", str(root)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
        )
        usage = Usage(process.pid)
        while process.poll() is None:
            usage.sample()
            time.sleep(SAMPLE_SECONDS)
    log = folder.metrics()
    log.poll()
    times = log.times("train/loss")
    skip = len(times) // 4  # steps in which caches still fill
    shutil.rmtree(folder.path)
    wall, used, drawing = usage.between(times[skip], times[-1])
    rate = (len(times) - 1 - skip) / (times[-1] - times[skip])
    return Training(rate, used / (rate * wall), drawing / used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leet", help="command of the peer, such as 'wandb leet'")
    parser.add_argument("--leet-python", help="python that has wandb; default: beside the command")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--train-steps", type=int, default=100)
    parser.add_argument("--device", default="cpu", help="of the small training")
    parser.add_argument("--only", default="first-paint,long-run,keys,training")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = options.only.split(",")
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)
        print(f"  {name}: {value:.4g}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as place:
        few, long = Path(place, "few"), Path(place, "long")
        for _ in range(6):
            long_run(few, 100)
        if "long-run" in wanted or "keys" in wanted:
            long_run(long, options.steps)
        leet: list[str] = []
        large = ""
        if options.leet:
            leet = shlex.split(options.leet)
            python = options.leet_python or str(Path(leet[0]).parent / "python")
            small = str(wandb_run(Path(place, "w-few"), python, 100).parent)
            if "long-run" in wanted:  # minutes
                large = str(wandb_run(Path(place, "w-long"), python, options.steps).parent)
        for repeat in range(options.repeats):
            if "first-paint" in wanted:
                for name, command, shows in [
                    ("first paint", app(few), "long"),
                    *([("first paint, leet", [*leet, small], "loss")] if leet else []),
                ]:
                    seconds, used = first_paint(command, shows)
                    note(f"{name}, s", seconds)
                    note(f"{name}, processor s", used)
            if "long-run" in wanted:
                from_enter, from_start = app_long(long)
                note(f"{options.steps} steps drawn, from Enter, s", from_enter)
                note(f"{options.steps} steps drawn, with two settled screens, s", from_start)
                if leet:
                    note(f"{options.steps} steps drawn, leet, s", leet_long([*leet, large]))
            if "keys" in wanted:
                moves = [b"\x1b[B", b"\x1b[A"]
                table = key_times(app(few), lambda text: "long" in text, moves)
                note("key to paint in the table, ms", table)
                if leet:
                    peer = key_times([*leet, small], lambda text: "loss" in text, [b"[", b"]"])
                    note("key to paint, leet, ms", peer)
            if "training" in wanted:
                # In the other order each time: a machine that slows down favours what comes first.
                both: dict[bool, Training] = {}
                for screen in (False, True) if repeat % 2 == 0 else (True, False):
                    both[screen] = got = training(
                        few, options.train_steps, options.device, screen=screen
                    )
                    where = "with the monitor" if screen else "without a screen"
                    note(f"steps/s {where}", got.rate)
                    note(f"processor ms a step {where}", 1000 * got.used)
                with_, without = both[True], both[False]
                note("steps/s with the monitor, of those without", with_.rate / without.rate)
                note("processor time of a step likewise", with_.used / without.used)
                note("of it in the thread that draws, %", 100 * with_.drawing)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "medians": medians, "all": figures}, indent=2))
        return
    print(f"{os.cpu_count()} cores, medians of {options.repeats}")
    for name, value in medians.items():
        spread = f"{min(figures[name]):.4g} to {max(figures[name]):.4g}"
        print(f"{name:<52}{value:>10.4g}   ({spread})")


if __name__ == "__main__":
    main()
