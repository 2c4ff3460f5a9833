"""Loses the terminal of a training app in every way there is, and looks what becomes of the run.

    python tests/survival/terminal.py --times 50        the terminal closed at random moments
    python tests/survival/terminal.py --frozen 60       nobody reads what the app draws
    python tests/survival/terminal.py --killed 3        SIGKILL to the app
    python tests/survival/terminal.py --signals         SIGTERM, SIGINT, SIGUSR1 to app and trainers

Every trial starts the real app in a pseudo-terminal, starts a run in it by a key, loses the
terminal, and waits for the run's end. Then: the parameters are those of a run that nothing
disturbed, bit for bit; every step is in the metric log once, with the same loss; the app is gone;
no process is left.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyte
import torch

from engine.config import PretrainConfig
from engine.errors import RunError
from engine.presets import build, preset
from engine.runs import RunFolder, create

REPO = Path(__file__).resolve().parents[2]
MARK = "MOCO_SURVIVAL_TRIAL"

# A few dozen milliseconds a step on one core, with a kNN pass and a checkpoint every epoch.
PRETRAIN = {
    **preset("quick").values,
    "data.limit": 320,
    "model.dim": 32,
    "moco.queue_size": 64,
    "optim.batch_size": 16,
    "optim.epochs": 5,
    "monitor.knn_every": 1,
    "log.checkpoint_seconds": 3600,
    "log.checkpoint_epochs": 1,
    "runtime.device": "cpu",
    "runtime.threads": 1,
    "runtime.precision": "float32",
}
PROBE = {
    "label_fraction": 0.5,
    "task.name": "ten",
    "head": "logistic",
    "baselines": ("random-init", "pixels"),
    "runtime.device": "cpu",
    "runtime.threads": 1,
    "runtime.precision": "float32",
}

# Makes the pseudo-terminal the controlling one, as a login shell has it.
_LAUNCH = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first value of the condition that is true.

    Raises:
        AssertionError: when it never was.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s for: {what}"
        time.sleep(0.02)


class App:
    """``moco-tui`` in a pseudo-terminal of 100x30, whose screen is read as a person would.

    Args:
        root: the runs folder.
        data: the data folder.
        mark: value of the environment variable by which what it leaves behind is found.
        args: words after the global options; none for the app itself.
    """

    def __init__(self, root: Path, data: Path, mark: str, *args: str) -> None:
        self.mark = mark
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        command = [sys.executable, "-m", "moco_tui", "--runs-dir", root, "--data-dir", data, *args]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, command)],
            start_new_session=True,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(mark),
            cwd=root.parent,
        )
        os.close(slave)
        self.screen = pyte.Screen(100, 30)
        self._stream = pyte.ByteStream(self.screen)
        self._reading = threading.Event()
        self._reading.set()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            self._reading.wait()
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock, contextlib.suppress(Exception):  # a sequence that pyte does not know
                self._stream.feed(data)

    def text(self) -> str:
        """What is on the screen."""
        with self._lock:
            return "\n".join(self.screen.display)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def freeze(self) -> None:
        """Read no more, as a connection that hangs."""
        self._reading.clear()

    def thaw(self) -> None:
        """Read again."""
        self._reading.set()

    def close(self) -> None:
        """Hang up."""
        os.close(self.master)

    def wait(self, seconds: float) -> int:
        """The exit code; fails when the app is still there after so many seconds."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            load = psutil.Process(self.process.pid).cpu_percent(0.5)
            raise AssertionError(
                f"the app is still there after {seconds} s ({load} % CPU)"
            ) from None


def environment(mark: str) -> dict[str, str]:
    return {
        **os.environ,
        MARK: mark,
        "TERM": "xterm-256color",
        "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")]).strip(":"),
        "OMP_NUM_THREADS": "1",
    }


def marked(mark: str) -> list[psutil.Process]:
    """The processes of a trial that are still there; zombies of this process count too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


@dataclass
class Bench:
    """Where trials take place, and what an undisturbed run gives.

    Attributes:
        folder: everything lies in it.
        data: the data folder, with its cache filled.
        oracle: the undisturbed pretraining, finished.
    """

    folder: Path
    data: Path
    oracle: RunFolder

    def trial(self, name: str) -> Path:
        """A runs folder of its own."""
        root = self.folder / name
        root.mkdir(parents=True)
        return root


def command(root: Path, data: Path, mark: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A command without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "moco_tui", "--runs-dir", str(root), "--data-dir", str(data), *args],
        env=environment(mark),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def prepare(folder: Path) -> Bench:
    """Trains the undisturbed run, by the command without a terminal."""
    root, data = folder / "oracle", folder / "data"
    run = create(root, "pretrain", build(PretrainConfig, PRETRAIN))
    done = command(root, data, "oracle", "resume", run.id)
    assert done.returncode == 0, done.stderr
    return Bench(folder, data, run)


def queue(root: Path, **changes: Any) -> RunFolder:
    """A run that waits to be started."""
    return create(root, "pretrain", build(PretrainConfig, {**PRETRAIN, **changes}))


def start_in_app(bench: Bench, root: Path, run: RunFolder) -> App:
    """An app on the runs folder, in which the run (the newest there) has just been started."""
    app = App(root, bench.data, root.name)
    until("the table of runs", lambda: run.id[:4] in app.text() or "queued" in app.text())
    app.press("r")
    return app


def state_of(run: RunFolder) -> dict[str, Any]:
    return torch.load(run.checkpoint_path, weights_only=True)


def differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Names of everything that is not bit for bit the same."""
    if isinstance(a, torch.Tensor):
        if not (isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)):
            yield path
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from differences(a.get(key), b.get(key), f"{path}/{key}")
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{path}/{i}")
    elif a != b:
        yield path


def check_same(run: RunFolder, oracle: RunFolder) -> None:
    """The run ended where the undisturbed one did, over the same losses, each step once.

    Raises:
        AssertionError: naming what differs.
    """
    assert run.record().status == "finished", run.log_tail(20)
    different = list(differences(state_of(run), state_of(oracle)))
    assert not different, f"not the same at the end: {different[:5]}"
    for name in ("train/loss", "train/lr", "train/epoch_loss", "knn/top1"):
        here, there = (list(zip(*map(list, series(r, name)), strict=True)) for r in (run, oracle))
        assert here == there, f"{name}: {sorted(set(here) ^ set(there))[:5]}"
    total = oracle.record().total_steps
    # As the file has it, without the reader that forgives: every step on one line that counts.
    assert steps_in_file(run) == list(range(1, total + 1))


def series(run: RunFolder, name: str) -> tuple[Any, Any]:
    log = run.metrics()
    log.poll()
    return log.series(name)


def steps_in_file(run: RunFolder) -> list[int]:
    """The steps with a loss, in the order of the file, after the voiding lines took theirs away."""
    steps: list[int] = []
    for line in run.metrics_path.read_text().splitlines():
        item = json.loads(line)
        if "train/loss" in line:
            steps.append(item["step"])
        elif "void" in line:
            after = next(v for k, v in item.items() if k.startswith("void"))
            steps = [step for step in steps if step <= after]
    return steps


def wait_for_end(run: RunFolder, seconds: float = 120.0) -> str:
    """The state in which the run came to rest."""

    def at_rest() -> str:
        with contextlib.suppress(RunError):
            status = run.status()
            if status in ("finished", "stopped", "failed", "lost"):
                return status
            if status == "queued" and not run.alive():
                return status
        return ""

    return str(until("the end of the run", at_rest, seconds))


def phase(run: RunFolder) -> str:
    """Where the run is now, for the report."""
    with contextlib.suppress(RunError):
        record = run.record()
        if record.status != "running":
            return record.status
        if record.stage is not None:
            return record.stage["name"]
        return f"step {record.step}" if record.total_steps else "loading"
    return "?"


@dataclass
class Trial:
    """What came of one loss of the terminal."""

    moment: float
    phase: str
    outcome: str
    left_after: float


def hang_up(bench: Bench, name: str, moment: float, *, by: int | None = None) -> Trial:
    """Closes the terminal so many seconds after the run was started, or sends the app a signal.

    Raises:
        AssertionError: when anything that the module promises does not hold.
    """
    root = bench.trial(name)
    run = queue(root)
    app = start_in_app(bench, root, run)
    time.sleep(moment)
    where = phase(run)
    if by is None:
        app.close()
    else:
        os.kill(app.process.pid, by)
    began = time.monotonic()
    code = app.wait(40)
    left_after = time.monotonic() - began
    assert code == 128 + (by or signal.SIGHUP), f"exit code {code}"
    outcome = wait_for_end(run)
    if outcome != "finished":
        done = command(root, bench.data, root.name, "resume", run.id)
        assert done.returncode == 0, done.stderr
    check_same(run, bench.oracle)
    until("all processes to be gone", lambda: not marked(root.name), 15)
    if by is not None:
        app.close()
    return Trial(moment, where, "went on" if outcome == "finished" else outcome, left_after)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--times", type=int, default=0, help="terminals to close")
    parser.add_argument("--span", type=float, default=9.0, help="latest moment after the start, s")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moco-survival-") as place:
        bench = prepare(Path(place))
        chance = random.Random(options.seed)
        for i in range(options.times):
            trial = hang_up(bench, f"trial-{i}", chance.uniform(0, options.span))
            print(
                f"{i:3d}  closed after {trial.moment:5.2f} s in {trial.phase:20s} app gone after "
                f"{trial.left_after:5.2f} s, run {trial.outcome}, bit-equal",
                flush=True,
            )


if __name__ == "__main__":
    main()
