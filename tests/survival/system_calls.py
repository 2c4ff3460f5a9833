"""Kills commands at a chosen system call, or lets one fail, and checks that nothing is lost.

    python tests/survival/system_calls.py [--tries 100] [--what kills errors] [--moment NAME ...]

strace counts the calls that an undisturbed command makes on files of the runs folder. In each trial
one of them, drawn at random, becomes SIGKILL, or fails with EIO, EDQUOT, ENOSPC, ESTALE or EINTR.
The moments are a training, its take-over after a kill (``resume``), the hand-over to a detached
process after SIGHUP, and the commands that change or read runs (delete, restore, tag, note, rename,
export, reindex, runs). After each, every run must be listed and shown and the index be readable;
a training is resumed until it is finished and must end in the same bits as the undisturbed one; a
command that is given again must do what it should have done. A command that met an error leaves
with one sentence and no traceback, and with exit code 0 only when its work is whole.

Prints ``system calls: tried N, survived N`` last. Without strace, or where it may not trace, it
says so and tries nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.runs import RunFolder
from tests.survival.tiny_runs import (
    End,
    check_end,
    check_left_over,
    check_readable,
    check_words,
    draw_images,
    end_of,
    only_run,
    resume_to_end,
    wait_for_rest,
    words,
)
from tests.survival.trials import Skipped, Trial, Work, hold, main, parser, until
from tests.survival.warm import Done, Place, Process, why_no_strace

CALLS = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "fsync", "fdatasync", "openat"),
    *("write", "pwrite64", "ftruncate", "flock", "mkdir", "mkdirat", "utimensat"),
)
ERRORS = ("EIO", "EDQUOT", "ENOSPC", "ESTALE", "EINTR")
EXIT_CODES = (0, 1, 2)
_CALL = re.compile(r"(\d+) +(\w+)\(")

Point = tuple[str, int]
"""A system call and which one of its kind in its thread, from 1."""


def points_of(trace: list[str], root: Path) -> list[Point]:
    """The calls on files of the runs folder; strace counts each thread's for itself."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    found = set()
    for line in trace:
        match = _CALL.match(line)
        if match:
            thread, call = match.groups()
            counts[thread, call] += 1
            if str(root) in line:
                found.add((call, counts[thread, call]))
    return sorted(found)


def drawn(points: list[Point], chance: random.Random, what: str) -> tuple[str, list[str]]:
    """A call to disturb, in words and as arguments for strace: each kind is as likely."""
    call = chance.choice(sorted({call for call, _ in points}))
    number = chance.choice([n for c, n in points if c == call])
    happens = "signal=KILL" if what == "kills" else f"error={chance.choice(ERRORS)}"
    shown = f"{call} {number} {happens}"
    return shown, ["-e", f"trace={call}", "-e", f"inject={call}:{happens}:when={number}"]


@dataclass(frozen=True)
class Bench:
    """What undisturbed commands give.

    Attributes:
        images, data: what is trained on.
        wanted: where the training ends.
        killed: a runs folder whose run was killed after a checkpoint.
        finished: a runs folder with a finished run named ``a`` and, in the trash, one named ``b``.
        points: by moment.
    """

    images: Path
    data: Path
    wanted: End
    killed: Path
    finished: Path
    points: dict[str, list[Point]]

    def place(self, folder: Path, like: Path | None = None) -> Place:
        """A runs folder of its own, as a copy of another."""
        if like is not None:
            shutil.copytree(like, folder / "runs", symlinks=True)
        return Place(folder / "runs", self.data, folder / "output")


# --------------------------------------------------------------------------------------------
# Moments: a disturbed command, and what must hold after it


def train(bench: Bench, here: Place, injected: list[str]) -> tuple[Process, Done]:
    """A new training."""
    process = here.start("pretrain", *words(bench.images), injected=injected)
    return process, process.wait()


def take_over(bench: Bench, here: Place, injected: list[str]) -> tuple[Process, Done]:
    """``resume`` of a training that was killed."""
    run = only_run(here)
    assert run is not None
    process = here.start("resume", run.id, injected=injected)
    return process, process.wait()


def hand_over(
    bench: Bench, here: Place, injected: list[str], moment: float = 0.5
) -> tuple[Process, Done]:
    """``resume`` of it loses its terminal; a detached process goes on."""
    run = only_run(here)
    assert run is not None
    process = here.start("resume", run.id, injected=injected, mark=str(here.root))
    until("the run to begin", lambda: run.alive() or process.poll() is not None, 30)
    time.sleep(moment)
    process.signal(signal.SIGHUP)
    done = process.wait()
    wait_for_rest(run)
    return process, done


COMMANDS: dict[str, Callable[[Place, RunFolder, RunFolder], list[str]]] = {
    "delete": lambda here, a, b: ["delete", a.id],
    "restore": lambda here, a, b: ["restore", b.id],
    "tag": lambda here, a, b: ["tag", a.id, "+new", "-old"],
    "note": lambda here, a, b: ["note", a.id, "words"],
    "rename": lambda here, a, b: ["rename", a.id, "another"],
    "export": lambda here, a, b: ["export", a.id, "--format", "json", "--out", _target(here)],
    "reindex": lambda here, a, b: ["reindex"],
    "runs": lambda here, a, b: ["runs", "--json"],
}


def _target(here: Place) -> str:
    return str(here.root.parent / "exported.json")


def _deleted(here: Place) -> set[str]:
    listed = here.call("restore", "--json")
    check_words(listed, codes=(0,))
    return {row["id"] for row in json.loads(listed.out)}


def check_command(name: str, here: Place, a: RunFolder, b: RunFolder, *, whole: bool) -> None:
    """Both runs are in the list or the trash, and the change is there whole or not at all.

    Args:
        name: of the command.
        here: its runs folder.
        a: the finished run.
        b: that in the trash before it.
        whole: the change must be there.
    """
    listed = here.call("runs", "--json")
    check_words(listed, codes=(0,))
    rows = {row["id"]: row for row in json.loads(listed.out)}
    trash = _deleted(here)
    hold(rows.keys() | trash == {a.id, b.id}, f"{name}: listed {set(rows)}, in the trash {trash}")
    hold(not rows.keys() & trash, f"{name}: a run is in the list and in the trash")
    for row in rows.values():
        hold(row["state"] == "finished", f"{name}: {row['state']}")
    json.loads((here.root / "history.json").read_bytes())
    if whole:
        where = {"delete": set(), "restore": {a.id, b.id}}.get(name, {a.id})
        hold(rows.keys() == where, f"{name}: listed {set(rows)}")
    if a.id in rows:
        tags, note, title = (rows[a.id][key] for key in ("tags", "note", "name"))
        hold(
            tags in ([["new"]] if name == "tag" and whole else [["old"], ["new"]]),
            f"{name}: the tags are {tags}",
        )
        hold(note == ("words" if name == "note" and whole else note), f"{name}: note {note!r}")
        hold(note in ("before", "words"), f"{name}: the note is {note!r}")
        hold(title in (("another",) if name == "rename" and whole else ("a", "another")), title)
    target = Path(_target(here))
    if name == "export" and (whole or target.exists()):
        hold(json.loads(target.read_bytes())["run"]["id"] == a.id, "export: not whole")


def _a_and_b(root: Path) -> tuple[RunFolder, RunFolder]:
    paths = sorted(root.rglob("run.json"), key=lambda path: ".trash" in str(path))
    a, b = (RunFolder(path.parent) for path in paths)
    return a, b


# --------------------------------------------------------------------------------------------
# The script


def make_bench(place: Path, moments: set[str]) -> Bench:
    """Trains undisturbed, makes the folders that trials start from, and counts the calls."""
    draw_images(place / "images", random.Random(0))
    settings = words(place / "images")
    data = place / "data"
    bench = Bench(place / "images", data, None, place / "k/runs", place / "f/runs", {})  # type: ignore[arg-type]
    quiet = bench.place(place / "quiet")
    quiet.call("pretrain", *settings)  # fills the cache of images
    shutil.rmtree(quiet.root)

    def count(moment: str, process: Process, done: Done, root: Path) -> None:
        hold(done.code in (0, 130), f"{moment}: {done}")
        bench.points[moment] = points_of(process.traced(), root)
        hold(bench.points[moment], f"{moment}: no call on the runs folder was seen")

    watched = ["-e", f"trace={','.join(CALLS)}"]
    count("training", *train(bench, quiet, watched), quiet.root)
    run = only_run(quiet)
    assert run is not None
    object.__setattr__(bench, "wanted", end_of(quiet, run))
    killed = bench.place(place / "k")
    process = killed.start("pretrain", *settings)
    until("a checkpoint", lambda: any(killed.root.glob("[!.]*/checkpoint.pt")), 60)
    process.kill()
    process.wait()
    hold(not RunFolder(next(killed.root.glob("[!.]*/run.json")).parent).alive(), "it lives")
    for moment, work in (("take-over", take_over), ("hand-over", hand_over)):
        if moment not in moments:
            continue
        here = bench.place(place / moment, killed.root)
        count(moment, *work(bench, here, watched), here.root)
    if moments.isdisjoint(COMMANDS):
        return bench
    finished = bench.place(place / "f")
    for name in ("b", "a"):
        hold(finished.call("pretrain", *settings, "--name", name).code == 0, "no training")
    hold(finished.call("tag", "a", "old").code == 0, "no tag")
    hold(finished.call("note", "a", "before").code == 0, "no note")
    hold(finished.call("delete", "b").code == 0, "no trash")
    for name in sorted(moments & COMMANDS.keys()):
        here = bench.place(place / name, finished.root)
        process = here.start(*COMMANDS[name](here, *_a_and_b(here.root)), injected=watched)
        count(name, process, process.wait(), here.root.parent if name == "export" else here.root)
    return bench


def disturbed_training(bench: Bench, trial: Trial, moment: str, what: str) -> int:
    """One of the three moments of a training."""
    shown, injected = drawn(bench.points[moment], trial.chance, what)
    here = bench.place(trial.folder, None if moment == "training" else bench.killed)
    if moment == "hand-over":
        process, done = hand_over(bench, here, injected, trial.chance.uniform(0, 1.0))
    else:
        process, done = (train if moment == "training" else take_over)(bench, here, injected)
    trace = process.traced()
    hit = "killed by SIGKILL" if what == "kills" else "(INJECTED)"
    if not any(hit in line for line in trace):
        return 0
    try:
        run = only_run(here)
        check_readable(here, {run.id} if run else set())
        if done.code != -signal.SIGKILL:
            check_words(done, codes=EXIT_CODES)
            if done.code == 0 and moment != "hand-over":
                hold(run is not None and run.status() == "finished", "exit code 0, not finished")
        if run is None:
            hold(here.call("pretrain", *words(bench.images)).code == 0, "a new run cannot be made")
            run = only_run(here)
            assert run is not None
        trial.seen["resumes"] += resume_to_end(here, run)
        check_end(here, run, bench.wanted)
        check_readable(here, {run.id})
        trial.seen["small files left behind"] += check_left_over(here.root)
    except AssertionError as broken:
        raise AssertionError(f"{moment}, {shown}: {broken}") from broken
    return 1


def disturbed_command(bench: Bench, trial: Trial, name: str, what: str) -> int:
    """One of the short commands."""
    shown, injected = drawn(bench.points[name], trial.chance, what)
    here = bench.place(trial.folder, bench.finished)
    a, b = _a_and_b(here.root)
    process = here.start(*COMMANDS[name](here, a, b), injected=injected)
    done = process.wait()
    hit = "killed by SIGKILL" if what == "kills" else "(INJECTED)"
    if not any(hit in line for line in process.traced()):
        return 0
    try:
        if done.code != -signal.SIGKILL:
            check_words(done, codes=EXIT_CODES)
        check_command(name, here, a, b, whole=done.code == 0)
        if done.code:
            again = here.call(*COMMANDS[name](here, a, b))
            # What the killed one had done is not done twice, and said so.
            done_before = name in ("delete", "restore") and again.code == 2
            check_words(again, codes=(2,) if done_before else (0,))
            check_command(name, here, a, b, whole=True)
        trial.seen["small files left behind"] += check_left_over(here.root)
    except AssertionError as broken:
        raise AssertionError(f"{name}, {shown}: {broken}") from broken
    return 1


def prepare(place: Path, options: argparse.Namespace) -> Work:
    """Counts the calls; returns what disturbs one of them."""
    if why := why_no_strace():
        raise Skipped(why)
    moments = options.moment or [
        *["training"] * 8,
        *["take-over"] * 5,
        *["hand-over"] * 2,
        *COMMANDS,
    ]
    bench = make_bench(place, set(moments))

    def trial(trial: Trial) -> int:
        what = trial.chance.choice(options.what)
        moment = trial.chance.choice(moments)
        work = disturbed_command if moment in COMMANDS else disturbed_training
        count = work(bench, trial, moment, what)
        trial.seen[f"{what} in {moment}"] += count
        return count

    return trial


def options() -> argparse.Namespace:
    """Those of the command line."""
    made = parser(__doc__, 100)
    made.add_argument("--what", nargs="+", choices=("kills", "errors"), default=["kills", "errors"])
    made.add_argument(
        "--moment", nargs="+", choices=("training", "take-over", "hand-over", *COMMANDS)
    )
    return made.parse_args()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main("system calls", options(), prepare))
