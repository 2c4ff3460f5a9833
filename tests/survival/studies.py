"""Kills a whole study at random moments and at chosen system calls, and compares its table.

    python tests/survival/studies.py [--workers 1] [--tries 100] [--seed 0] [--trial N] [--jobs 2]

A study of two pretrainings and four probes (ten cells) is killed once or several times, by time or,
where strace may trace, at a system call on a file of the runs folder. After each kill every run
must be listed and shown. Then the study is resumed until it is finished: its table must be that of
an undisturbed study, cell for cell and bit for bit; a run that had finished before a kill must not
have been touched again; every cell must have been computed by one run, and none be left unfinished.

With several workers a kill hits the process that has the study, one of its workers, or all of them;
those that are left go on meanwhile.
Prints ``studies: tried N, survived N`` last.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.survival.system_calls import CALLS, drawn, points_of
from tests.survival.tiny_runs import (
    SETTINGS,
    check_left_over,
    check_readable,
    check_words,
    draw_images,
    wait_for_rest,
)
from tests.survival.trials import Skipped, Trial, Work, hold, main, parser
from tests.survival.warm import Place, Process, why_no_strace

from engine.runs import RunFolder  # isort: skip
from engine.machine.cpu_count import available_cpus  # isort: skip
from engine.study.workers import living_workers  # isort: skip

CELLS = 10
RUNS = {"study": 1, "pretrain": 2, "probe": 4}
GRID: dict[str, object] = {
    "queue_sizes": 20,
    "seeds": "0,1",
    "label_fractions": "0.5,1.0",
    "tasks": "all",
    "heads": "logistic",
    "subset_seeds": 0,
    "baselines": "random-init,pixels",
    "probe.logistic.l2": 0.01,
    "probe.logistic.max_iter": 50,
    "probe.runtime.device": "cpu",
    "probe.runtime.threads": 1,
    "probe.runtime.precision": "float32",
}


def words(images: Path) -> list[str]:
    """The command of the study."""
    pretrain = {k: v for k, v in SETTINGS.items() if k != "moco.queue_size"}
    pretrain |= {"data.source": f"folder:{images}", "optim.epochs": 2}
    given = GRID | {f"pretrain.{key}": value for key, value in pretrain.items()}
    return ["study", *(w for k, v in given.items() for w in ("--set", f"{k}={v}"))]


def table(place: Place) -> list[dict[str, str]]:
    """Every cell of the study, less the ids of the runs."""
    done = place.call("study", "--show", "latest", "--csv")
    check_words(done, codes=(0,))
    rows = list(csv.DictReader(io.StringIO(done.out.decode())))
    hold(len(rows) == CELLS, f"{len(rows)} cells in the table")
    for row in rows:
        row.pop("run")
    return rows


def runs_of(place: Place) -> dict[str, RunFolder]:
    """The runs of a folder by their ids."""
    return {path.parent.name: RunFolder(path.parent) for path in place.root.glob("[!.]*/run.json")}


def finished_runs(place: Place) -> dict[str, bytes]:
    """The records of the runs of the study that are finished."""
    found = {}
    for name, run in runs_of(place).items():
        record = run.record()
        if record.kind != "study" and record.status == "finished":
            found[name] = (run.path / "run.json").read_bytes()
    return found


def check_study(place: Place, wanted: list[dict[str, str]], finished: dict[str, bytes]) -> None:
    """The study is complete, and nothing was computed twice.

    Args:
        place: where it is.
        wanted: the table of an undisturbed one.
        finished: what ``finished_runs`` gave after the kills.
    """
    hold(table(place) == wanted, "the table is not that of the undisturbed study")
    now = finished_runs(place)
    for name, record in finished.items():
        hold(now.get(name) == record, f"the finished run {name} was touched again")
    runs = runs_of(place)
    states = {name: run.status() for name, run in runs.items()}
    hold(set(states.values()) == {"finished"}, f"not all finished: {states}")
    kinds = Counter(run.record().kind for run in runs.values())
    hold(kinds == RUNS, f"the cells were computed by {dict(kinds)}")


def prepare(place: Path, options: argparse.Namespace) -> Work:
    """Runs the study undisturbed; returns what kills one."""
    if options.workers > 1:
        return prepare_workers(place, options.workers)
    draw_images(place / "images", random.Random(0))
    command = words(place / "images")
    quiet = Place(place / "undisturbed", place / "data", place / "output")
    done = quiet.call(*command)
    hold(done.code == 0, str(done))
    wanted, seconds = table(quiet), done.seconds
    check_study(quiet, wanted, {})
    points: list[tuple[str, int]] = []
    if not why_no_strace():
        counted = Place(place / "counted", place / "data", place / "output")
        process = counted.start(*command, injected=["-e", f"trace={','.join(CALLS)}"])
        hold(process.wait().code == 0, "the study fails under strace")
        points = points_of(process.traced(), counted.root)

    def trial(trial: Trial) -> int:
        here = Place(trial.folder / "runs", place / "data", trial.folder / "output")
        args, kills, finished = command, 0, dict[str, bytes]()
        shown = []
        for _ in range(trial.chance.randrange(1, 4)):
            if points and trial.chance.random() < 0.3:
                where, injected = drawn(points, trial.chance, "kills")
                process = here.start(*args, injected=injected)
            else:
                moment = trial.chance.uniform(0, 0.8 * seconds)
                where = f"after {moment:.2f} s"
                process = here.start(*args)
                time.sleep(moment)
                process.kill()
            code = process.wait().code
            hold(code in (0, -signal.SIGKILL), f"exit code {code}")
            if code == 0:
                break
            kills += 1
            shown.append(where)
            check_readable(here, set(runs_of(here)))
            finished |= finished_runs(here)
            studies = [n for n, run in runs_of(here).items() if run.record().kind == "study"]
            if studies:
                args = ["resume", studies[0]]
        if kills:
            try:
                for run in runs_of(here).values():
                    wait_for_rest(run)
                if args is command or RunFolder(here.root / args[1]).status() != "finished":
                    check_words(here.call(*args), codes=(0,))
                check_study(here, wanted, finished)
                trial.seen["small files left behind"] += check_left_over(here.root)
                index = json.loads((here.root / "history.json").read_bytes())
                hold(set(index["runs"]) == set(runs_of(here)), "the index lacks a run")
            except AssertionError as broken:
                raise AssertionError(f"killed at {shown}: {broken}") from broken
        trial.seen["runs kept over kills"] += len(finished)
        return kills

    return trial


VICTIMS = ("the study's process", "a worker", "all")


def pids_of(place: Place, victim: str, process: Process) -> list[int]:
    """The processes that a kill hits."""
    studies = [run for run in runs_of(place).values() if run.record().kind == "study"]
    workers = [w.record().pid for study in studies for w in living_workers(study)]
    workers = [pid for pid in workers if pid]  # 0: it has not begun
    if victim == VICTIMS[0]:
        return [process.pid]
    return workers[:1] if victim == VICTIMS[1] else [process.pid, *workers]


def kill_all(pids: list[int]) -> None:
    """SIGKILL to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def prepare_workers(place: Path, workers: int) -> Work:
    """Runs the study undisturbed, by one process and by several; returns what kills the latter."""
    if available_cpus() < workers:
        raise Skipped(f"{workers} workers need as many cores, and there are {available_cpus()}")
    draw_images(place / "images", random.Random(0))
    command = [*words(place / "images"), "--workers", str(workers)]
    quiet = Place(place / "undisturbed", place / "data", place / "output")
    check_words(quiet.call(*words(place / "images")), codes=(0,))
    wanted = table(quiet)
    shared = Place(place / "shared", place / "data", place / "output")
    done = shared.call(*command)
    check_words(done, codes=(0,))
    check_study(shared, wanted, {})

    def trial(trial: Trial) -> int:
        here = Place(trial.folder / "runs", place / "data", trial.folder / "output")
        args, kills, finished, shown = command, 0, dict[str, bytes](), []
        for _ in range(trial.chance.randrange(1, 4)):
            victim = trial.chance.choice(VICTIMS)
            moment = trial.chance.uniform(0, done.seconds)
            process = here.start(*args)
            time.sleep(moment)
            pids = pids_of(here, victim, process)
            kill_all(pids)
            kills += bool(pids)
            shown.append(f"{victim} after {moment:.2f} s")
            code = process.wait(240).code
            hold(code in (0, -signal.SIGKILL), f"exit code {code}, killed: {shown}")
            if code == 0:
                break
            finished |= finished_runs(here)
            studies = [n for n, run in runs_of(here).items() if run.record().kind == "study"]
            if studies:
                args = ["resume", studies[0]]
        try:
            if args is command or RunFolder(here.root / args[1]).status() != "finished":
                check_words(here.call(*args, seconds=240), codes=(0,))
            for run in runs_of(here).values():
                wait_for_rest(run)
            check_study(here, wanted, finished)
            check_readable(here, set(runs_of(here)))
            trial.seen["small files left behind"] += check_left_over(here.root)
        except AssertionError as broken:
            raise AssertionError(f"killed: {shown}: {broken}") from broken
        trial.seen["runs kept over kills"] += len(finished)
        return kills

    return trial


if __name__ == "__main__":
    options = parser(__doc__, 100)
    options.add_argument("--workers", type=int, default=1)
    raise SystemExit(main("studies", options.parse_args(), prepare))
