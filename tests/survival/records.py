"""Shows every command and the app a run folder in which something is odd.

    python tests/survival/records.py [--tries 200] [--seed 0] [--trial N] [--jobs 2]

In each trial one thing is odd (``odd_files``): a field of a record, of notes, of a heartbeat or of
the index has another value; a file has other content, or 50 MB; a pipe, a link, a device, a socket
or a folder stands in the place of a file; a request has a strange name. Then every command that
looks is called (runs, show, compare, study, watch, export, doctor, reindex), those that write notes
(tag, note, rename), and the app is started in a pseudo-terminal, opens the run and is left by its
key. Where no plain file stands, what writes into the folder is called too (stop, resume, delete,
restore). What must hold:

    exit code 0 or 2 (after ``watch`` and ``resume`` also those of the run), one sentence after 2,
    no traceback; nothing hangs longer than 2 s above what the command takes on a healthy folder;
    the other run stays listed and as it was; no byte changes outside the runs folder; no control
    character reaches the output, and none of the planted ones the app's terminal

Prints ``records: tried N, survived N`` last.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.pseudo_terminal import open_terminal
from tests.survival.odd_files import KNOWN, PLANTED, Odd, some_odd
from tests.survival.studies import words as study_words
from tests.survival.tiny_runs import check_words, draw_images, words
from tests.survival.trials import Trial, Work, hold, main, parser, until
from tests.survival.warm import Done, Place

PATIENCE = 2.0
"""Seconds that a command may take above those on a healthy folder."""
LOAD = 8.0
"""How much longer a command may take on a machine that does other work as well."""
HARD = 60.0


@dataclass(frozen=True)
class Bench:
    """A healthy folder and what commands take on it.

    Attributes:
        place: holds two runs, named ``healthy`` and ``odd``; the odd one is the newer.
        odd: id of the odd one.
        healthy: id of the other.
        seconds: by command.
        images: of both.
    """

    place: Place
    odd: str
    healthy: str
    seconds: dict[str, float]
    images: Path


def looking(bench: Bench) -> list[list[str]]:
    """The commands that look, and those that write notes."""
    odd, healthy = bench.odd, bench.healthy
    return [
        ["runs"],
        ["runs", "--json"],
        ["runs", "--csv"],
        ["runs", "--filter", "tag:x or knn>1", "--sort", "-loss"],
        ["show", odd],
        ["show", odd, "--json"],
        ["show", odd, "--log", "5"],
        ["compare", odd, healthy],
        ["compare", odd, healthy, "--json"],
        [*study_words(bench.images), "--show", "--csv"],
        ["watch", odd, "--interval", "0.1"],
        ["export", odd],
        ["export", odd, "--format", "json"],
        ["export", healthy],
        ["tag", odd, "+x"],
        ["note", odd, "words"],
        ["rename", odd, "odd two"],
        ["doctor"],
        ["reindex"],
        ["runs", "--json"],
    ]


def writing(bench: Bench) -> list[list[str]]:
    """What works on the odd run, or moves it."""
    return [["stop", bench.odd], ["resume", bench.odd], ["delete", bench.odd], ["restore"]]


def digest(folder: Path) -> dict[str, str]:
    """Names, kinds, modes and contents of all that lies in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat().st_mode
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = f"{kind} {hashlib.sha256(data).hexdigest()}"
    return found


def called(bench: Bench, here: Place, args: Sequence[str]) -> Done:
    """A command, timed; raises when it hangs."""
    name = " ".join(args[:3]) if args[0] != "study" else "study --show"
    usual = bench.seconds.get(args[0], 5.0)
    process = here.start(*args)
    if args[0] == "watch":  # a run that waits is watched until Ctrl-C
        end = time.monotonic() + 1.0
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.signal(signal.SIGINT)
        usual += 1.0
    limit = PATIENCE + LOAD * usual
    try:
        done = process.wait(min(HARD, 3 * limit))
    except AssertionError as error:
        raise Hung(f"{name}: {error}") from error
    hold(done.seconds < limit, f"{name}: took {done.seconds:.1f} s, usually {usual:.2f} s")
    return done


class Hung(AssertionError):  # noqa: N818 - as Broken
    """A command that had to be killed."""


def check(bench: Bench, here: Place, args: list[str]) -> None:
    """Calls a command; see the top of the file."""
    done = called(bench, here, args)
    # 1 and 130 are of a run that failed or was stopped.
    codes = {"watch": (0, 1, 2, 130), "resume": (0, 1, 2)}.get(args[0], (0, 2))
    check_words(done, codes=codes)
    if args[0] != "resume":
        hold(b"\r" not in done.out + done.err, f"a carriage return: {done}")
    if done.code == 0 and args[:2] == ["runs", "--json"]:
        listed = {row["id"] for row in json.loads(done.out)}
        hold(bench.healthy in listed, f"runs: the healthy run is not listed, but {listed}")
    if args[0] == "runs":
        hold(done.code == 0 and done.out.strip(), f"the runs are not listed: {done}")
    if "--json" in args and done.code == 0:
        json.loads(done.out)


def check_app(bench: Bench, here: Place) -> None:
    """The app starts, lists the healthy run, opens the first one, and is left by a key."""
    master, slave = open_terminal((120, 40))
    process = here.start(terminal=slave)
    drawn = b""

    def read(seconds: float, what: str = "") -> bool:
        nonlocal drawn
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and process.poll() is None:
            if select.select([master], [], [], min(left, 0.1))[0]:
                with contextlib.suppress(OSError):
                    drawn += os.read(master, 1 << 16)
            if what and what.encode() in drawn:
                return True
        return False

    limit = PATIENCE + LOAD * bench.seconds["app"]
    try:
        hold(read(limit, "healthy"), f"app: the healthy run is not listed: {_last(drawn)}")
        for key in (b"\r", b"\x1b", b"\x1b[B", b"\r", b"\x1b"):
            with contextlib.suppress(OSError):
                os.write(master, key)
            read(0.25)
        with contextlib.suppress(OSError):
            os.write(master, b"q")
        read(limit)
        if process.poll() is None:  # some screens take it as a letter
            os.write(master, b"\x1b\x1bq")
            read(limit)
        hold(process.poll() is not None, f"app: it cannot be left: {_last(drawn)}")
        hold(process.poll() == 0, f"app: it left with {process.poll()}: {_last(drawn)}")
        hold(b"Traceback" not in drawn, f"app: a traceback: {_last(drawn)}")
        for planted in PLANTED:
            hold(planted not in drawn, f"app: {planted!r} reached the terminal")
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _last(drawn: bytes) -> str:
    text = re.sub(rb"\x1b\[[0-9;?<>=]*[ -/]*[@-~]", b" ", drawn[-6000:]).decode(errors="replace")
    return " ".join(re.sub(r"[^ -~]", " ", text).split())[-300:]


def _short(sentence: str) -> str:
    return sentence if len(sentence) < 400 else f"{sentence[:80]} ... {sentence[-300:]}"


def make_bench(place: Path) -> Bench:
    """Trains two runs, the odd one stopped in its middle, and times the commands."""
    draw_images(place / "images", random.Random(0))
    here = Place(place / "healthy/runs", place / "data", place / "output")
    settings = words(place / "images")
    ids = []
    done = here.call("pretrain", *settings, "--name", "healthy")
    hold(done.code == 0, str(done))
    ids.append(re.search(rb"run (\w+) in", done.err)[1].decode())  # type: ignore[index]
    process = here.start("pretrain", *settings, "--set", "optim.epochs=12", "--name", "odd")
    until("a checkpoint", lambda: len([*here.root.glob("[!.]*/checkpoint.pt")]) == 2, 60)
    process.signal(signal.SIGTERM)
    done = process.wait()
    hold(done.code == 130, str(done))  # stopped: ``resume`` has something to do
    ids.append(re.search(rb"run (\w+) in", done.err)[1].decode())  # type: ignore[index]
    for args in (["tag", "odd", "+old"], ["note", "odd", "a note"]):
        hold(here.call(*args).code == 0, "no notes")
    (here.root / ids[1] / "control").mkdir(exist_ok=True)
    bench = Bench(here, ids[1], ids[0], {"app": 5.0}, place / "images")
    before = here.call("runs", "--json").out
    shutil.copytree(place / "healthy", place / "timed", symlinks=True)
    timed = Place(place / "timed/runs", place / "data", place / "output")
    for args in [*looking(bench), *writing(bench)]:
        if args[0] != "watch":
            bench.seconds[args[0]] = max(timed.call(*args).seconds, bench.seconds.get(args[0], 0))
    began = time.monotonic()
    check_app(bench, here)
    bench.seconds["app"] = time.monotonic() - began
    hold(here.call("runs", "--json").out == before, "the app changed a healthy folder")
    return bench


def broken_by(bench: Bench, trial: Trial, odd: Odd) -> list[str]:
    """What did not hold with one odd thing, a sentence each."""
    canary = trial.folder / "canary"
    (canary / "folder").mkdir(parents=True)
    (canary / "paper.tex").write_text("years of work\n" * 1000)
    (canary / "folder" / "inside.txt").write_text("inside")
    root = trial.folder / "runs"
    shutil.copytree(bench.place.root, root, symlinks=True)
    odd.change(root, root / bench.odd, canary)
    here = Place(root, bench.place.data, trial.folder / "output")
    before, healthy = digest(canary), digest(root / bench.healthy)
    found = []
    works = [*looking(bench), []]
    if odd.special or trial.chance.random() < 0.15:
        works += writing(bench)
    for args in works:
        try:
            if args:
                check(bench, here, args)
            else:
                check_app(bench, here)
        except Hung as hung:
            found.append(str(hung))
            break  # the others would wait for the same thing
        except AssertionError as broken:
            found.append(str(broken))
    if digest(canary) != before:
        found.append("bytes outside the runs folder changed")
    if digest(root / bench.healthy) != healthy:
        found.append("the other run changed")
    return found


def prepare(place: Path, options: argparse.Namespace) -> Work:
    """Makes the healthy folder; returns what makes a copy of it odd."""
    bench = make_bench(place)

    def trial(trial: Trial) -> int:
        drawn = some_odd(trial.chance, bench.place.root / bench.odd)
        # Those that have broken something are tried by the first seed alone.
        known = KNOWN[trial.number :] if not trial.seed and not options.drawn else ()
        odd = known[0] if known else drawn
        trial.seen[odd.name.split(":")[0]] += 1
        found = broken_by(bench, trial, odd)
        hold(not found, "\n    ".join([odd.name, *map(_short, dict.fromkeys(found))]))
        return 1

    return trial


if __name__ == "__main__":
    made = parser(__doc__, 200)
    made.add_argument("--drawn", action="store_true", help="not those that have broken something")
    raise SystemExit(main("records", made.parse_args(), prepare))
