"""Closes terminals of trainings at random moments, several times in a row, and compares the end.

    python tests/survival/handovers.py [--tries 50] [--seed 0] [--trial N] [--jobs 2]

A training runs in a pseudo-terminal (``resume``). The terminal is closed at a random moment, or the
process gets SIGHUP, once or three times in quick succession: a detached process must go on with it.
In some trials that one is stopped, and the run resumed in another terminal that is closed as well.
In the end the run must be finished, or be resumed by one command, with the same bits as an
undisturbed one, every step once, and no process be left. The app's hand-overs are in
``terminal.py``. Prints ``hand-overs: tried N, survived N`` last.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from engine.errors import RunError
from engine.runs import RunFolder
from tests.pseudo_terminal import open_terminal
from tests.survival.tiny_runs import (
    check_end,
    check_left_over,
    check_readable,
    draw_images,
    end_of,
    only_run,
    resume_to_end,
    wait_for_rest,
    words,
)
from tests.survival.trials import Trial, Work, hold, main, parser, until
from tests.survival.warm import MARK, Place


def left_processes(mark: str) -> list[psutil.Process]:
    """The processes of a trial that still exist."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def drain(master: int, seconds: float) -> None:
    """Reads what is drawn for some time, as a terminal does."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            try:
                os.read(master, 1 << 16)
            except OSError:
                return


def lose_terminal(here: Place, run: RunFolder, trial: Trial, seconds: float) -> bool:
    """Resumes the run in a terminal that goes; whether it went before the run was finished."""
    master, slave = open_terminal((100, 30))
    process = here.start("resume", run.id, terminal=slave, mark=str(here.root))
    drain(master, trial.chance.uniform(0, 0.8 * seconds))
    early = process.poll() is None
    how = trial.chance.choice(["closed", "SIGHUP", "SIGHUP three times"])
    try:
        if how != "closed":
            for _ in range(3 if "three" in how else 1):
                process.signal(signal.SIGHUP)
                drain(master, trial.chance.uniform(0, 0.05))
            drain(master, 0.2)
    finally:
        os.close(master)
    done = process.wait()
    # -SIGHUP: it came before the command had begun; 1 to 3 would be a failure.
    hold(done.code in (0, 129, -signal.SIGHUP), f"{how}: exit code {done.code}")
    trial.seen[how] += early
    return early


def prepare(place: Path, options: argparse.Namespace) -> Work:
    """Trains undisturbed; returns what closes the terminals of a training."""
    draw_images(place / "images", random.Random(0))
    settings = words(place / "images", optim__epochs=10)
    quiet = Place(place / "undisturbed", place / "data", place / "output")
    done = quiet.call("pretrain", *settings)
    run = only_run(quiet)
    hold(done.code == 0 and run is not None, str(done))
    assert run is not None
    wanted, seconds = end_of(quiet, run), done.seconds

    def trial(trial: Trial) -> int:
        here = Place(trial.folder / "runs", place / "data", trial.folder / "output")
        process = here.start("pretrain", *settings)
        until("the run to be made", lambda: any(here.root.glob("[!.]*/run.json")), 30)
        time.sleep(trial.chance.uniform(0, 0.2 * seconds))
        process.kill()
        process.wait()
        run = only_run(here)
        assert run is not None
        wait_for_rest(run)
        lost = 0
        try:
            for _ in range(trial.chance.choice([1, 1, 2, 3])):
                if run.status() == "finished" or not lose_terminal(here, run, trial, seconds):
                    break
                lost += 1
                if trial.chance.random() < 0.5:
                    time.sleep(trial.chance.uniform(0, 3.0))
                    # It may have ended meanwhile, or wait for torch: it stops when it can.
                    with contextlib.suppress(RunError):
                        run.request("stop")
                until("the run to be at rest", lambda: at_rest(run, str(here.root)), 120)
                trial.seen[f"then {run.status()}"] += 1
                check_readable(here, {run.id})
            if lost:
                resume_to_end(here, run)
                check_end(here, run, wanted)
                trial.seen["small files left behind"] += check_left_over(here.root)
                hold(not left_processes(str(here.root)), "a process is left")
        finally:
            for left in left_processes(str(here.root)):
                with contextlib.suppress(psutil.Error):
                    left.kill()
        return lost

    return trial


def at_rest(run: RunFolder, mark: str) -> bool:
    """Whether no process of the trial works on the run or is about to."""
    return not run.alive() and not left_processes(mark)


if __name__ == "__main__":
    assert threading.active_count() == 1  # the trials are forks
    raise SystemExit(main("hand-overs", parser(__doc__, 50).parse_args(), prepare))
