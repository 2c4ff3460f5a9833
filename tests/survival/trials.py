"""Trials of the survival scripts: each by its number and seed, kept in its folder when it fails.

``main`` runs so many trials of a script in a few processes beside each other and prints, last, the
line ``NAME: tried N, survived N``. A trial that fails prints its sentence, the folder in which
everything is as it was left, and the words that repeat it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


class Broken(AssertionError):  # noqa: N818 - reads as a sentence
    """Raised with the sentence that did not hold."""


class Skipped(Exception):  # noqa: N818 - no error: this machine does not allow the trial
    """Raised with the reason why a script cannot run here."""


def hold(condition: object, promise: str) -> None:
    """Like assert, also under ``python -O``: raises ``Broken`` with the sentence."""
    if not condition:
        raise Broken(promise)


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: its number.
        seed: of the script.
        folder: its own, empty; it goes when the trial held.
        chance: random numbers that depend on seed and number alone.
        seen: what happened, counted, for the script's summary.
    """

    number: int
    seed: int
    folder: Path
    chance: random.Random
    seen: Counter[str] = field(default_factory=Counter)


Work = Callable[[Trial], int]
"""Does a trial, and returns how often it disturbed something (0: there was nothing to disturb);
raises AssertionError when a promise did not hold."""


@dataclass
class Result:
    """What became of trials.

    Attributes:
        tried, survived: disturbances.
        seen: see ``Trial``.
    """

    tried: int = 0
    survived: int = 0
    seen: Counter[str] = field(default_factory=Counter)


def parser(doc: str | None, tries: int) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--tries", type=int, default=tries)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--trial", type=int, help="repeat the trial of this number alone")
    made.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    return made


def main(
    name: str,
    options: argparse.Namespace,
    prepare: Callable[[Path, argparse.Namespace], Work],
) -> int:
    """Runs the trials of a script; 0 when all of them held.

    Args:
        name: of the script, for its last line.
        options: from ``parser``.
        prepare: makes what all trials share, in a folder; returns what does one.
    """
    place = Path(tempfile.mkdtemp(prefix=f"moco-{name.replace(' ', '-')}-"))
    began = time.monotonic()
    try:
        work = prepare(place, options)
    except Skipped as reason:
        shutil.rmtree(place)
        print(f"skipped: {reason}")
        print(f"{name}: tried 0, survived 0")
        return 0
    if options.trial is not None:
        result = Result()
        _count(result, _attempt(place, options, options.trial, work))
    else:
        result = _beside_each_other(place, options, work)
    if result.survived == result.tried:
        shutil.rmtree(place, ignore_errors=True)
    what = ", ".join(f"{n} {word}" for word, n in sorted(result.seen.items()))
    print(f"{what} [{time.monotonic() - began:.0f} s]")
    print(f"{name}: tried {result.tried}, survived {result.survived}", flush=True)
    return int(result.survived != result.tried)


def _beside_each_other(place: Path, options: argparse.Namespace, work: Work) -> Result:
    """The trials in forked processes, the numbers dealt in turn."""
    jobs = max(1, min(options.jobs, options.tries))
    pipes: dict[int, int] = {}
    for job in range(jobs):
        reader, writer = os.pipe()
        sys.stdout.flush()
        if not os.fork():
            code = 1
            try:
                os.close(reader)
                wanted = options.tries // jobs + (job < options.tries % jobs)
                _work_off(place, options, work, range(job, 1 << 30, jobs), wanted, writer)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(writer)
        pipes[reader] = job
    result, parts = Result(), dict.fromkeys(pipes, b"")
    while pipes:
        for reader in select.select(list(pipes), [], [])[0]:
            data = os.read(reader, 65536)
            parts[reader] += data
            *lines, parts[reader] = parts[reader].split(b"\n")
            for line in lines:
                _count(result, json.loads(line))
            if not data:
                os.close(reader)
                del pipes[reader]
    for _ in range(jobs):
        if os.wait()[1]:  # a worker broke: its trials are missing in the count
            result.tried += 1
    return result


def _work_off(
    place: Path,
    options: argparse.Namespace,
    work: Work,
    numbers: Sequence[int],
    wanted: int,
    writer: int,
) -> None:
    done = idle = 0
    for number in numbers:
        if done >= wanted:
            return
        told = _attempt(place, options, number, work)
        done += told["tried"]
        # Nothing to disturb, again and again: something is wrong with the trial itself.
        idle = 0 if told["tried"] else idle + 1
        hold(idle < 30, "thirty trials in turn disturbed nothing")
        os.write(writer, json.dumps(told).encode() + b"\n")


def _attempt(place: Path, options: argparse.Namespace, number: int, work: Work) -> dict[str, Any]:
    """One trial; what to count."""
    folder = place / f"trial{number}"
    folder.mkdir()
    # A text and not a tuple: its hash does not depend on the process.
    trial = Trial(number, options.seed, folder, random.Random(f"{options.seed} {number}"))
    try:
        tried = survived = work(trial)
    except AssertionError as broken:
        tried, survived = 1, 0
        trial.seen["broken"] += 1
        said = str(broken) or "".join(traceback.format_exception(broken)[-2:])
        print(
            f"BROKEN: {said}\n  kept in {folder}; again: {sys.executable} {sys.argv[0]} "
            f"--seed {options.seed} --trial {number}",
            flush=True,
        )
    except Exception:
        tried, survived = 1, 0
        trial.seen["broken"] += 1
        print(f"BROKEN in trial {number}, kept in {folder}:\n{traceback.format_exc()}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return {"tried": tried, "survived": survived, "seen": dict(trial.seen)}


def _count(result: Result, told: dict[str, Any]) -> None:
    result.tried += told["tried"]
    result.survived += told["survived"]
    result.seen.update(told["seen"])


def until(
    what: str,
    condition: Callable[[], Any],
    seconds: float = 90.0,
    instead: Callable[[], object] = str,
) -> Any:
    """Waits for a condition, and returns its first true value.

    Args:
        what: what is waited for, for the failure's sentence.
        condition: looked at a hundred times a second.
        seconds: to wait at most.
        instead: what to show in the failure's sentence.

    Raises:
        Broken: when it has not come true in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            hold(False, f"waited {seconds:g} s for: {what}; there was: {instead()}")
        time.sleep(0.01)


def unclean(data: bytes) -> Iterator[str]:
    """The characters of an output that no terminal may get, as ``U+XXXX``."""
    for letter in sorted(set(data.decode("utf-8", errors="replace"))):
        code = ord(letter)
        steers = code < 0x20 and letter not in "\n\t"
        one = 0x7F <= code <= 0x9F
        turns = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code in (0x200E, 0x200F)
        if steers or one or turns or code in (0x2028, 0x2029):
            yield f"U+{code:04X}"
