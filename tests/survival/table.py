"""Runs the survival scripts and prints one table: what was tried, and what survived.

    python tests/survival/table.py --small              a few minutes
    python tests/survival/table.py --large              about 40 minutes on two free cores
    python tests/survival/table.py --large --only records "system calls" --seed 7

Each script prints what broke while it goes on, keeps the folder of it, and says how to repeat it.
The exit code is 0 when everything that was tried survived, and every script could be run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.environment import with_packages

HERE = Path(__file__).parent
_COUNTS = re.compile(r"tried ([\d,]+)(?: [\w ]+)?, (?:survived|kept|as written) ([\d,]+)")
_HELD = re.compile(r"^[\w-]+: (held|BROKEN)\b", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: what ``--only`` takes.
        what: for people.
        script: in this folder.
        small, large: tries; 0 where the script counts for itself.
        more: further options of the script.
        later: added to the seed.
    """

    name: str
    what: str
    script: str
    small: int = 0
    large: int = 0
    more: tuple[str, ...] = ()
    later: int = 0


ROWS = (
    Row("kills", "trainings killed at random moments", "training.py", 3, 200),
    Row("kills again", "the same with another seed", "training.py", 3, 200, later=1),
    Row("system calls", "kills at system calls", "system_calls.py", 6, 100, ("--what", "kills")),
    Row("errors", "errors of system calls", "system_calls.py", 6, 100, ("--what", "errors")),
    Row("studies", "studies killed", "studies.py", 3, 100),
    Row("workers", "studies of two workers killed", "studies.py", 2, 50, ("--workers", "2")),
    Row("hand-overs", "terminals closed", "handovers.py", 2, 50),
    Row("notes", "tags, notes and names by 8 processes", "notes.py"),
    Row("records", "odd files, every command, the app", "records.py", 12, 200),
    Row("checkpoints", "damaged checkpoints", "checkpoints.py", 40, 2000),
    Row("clock", "clocks that step", "clock.py"),
    Row("users", "two users on one folder", "users.py"),
    Row("storage", "full, read-only and damaged disks", "storage.py"),
)


@dataclass(frozen=True)
class Outcome:
    """What a script came to.

    Attributes:
        tried, survived: its counts.
        seconds: that it took.
        trouble: why the counts say nothing; empty where they count.
    """

    tried: int
    survived: int
    seconds: float
    trouble: str

    @property
    def held(self) -> bool:
        """Whether everything survived."""
        return self.tried == self.survived and self.trouble in ("", "skipped")


def words(row: Row, *, large: bool, seed: int) -> list[str]:
    """The command of a row: what its script takes of the usual options."""
    script = HERE / row.script
    text = script.read_text(encoding="utf-8")
    made = [sys.executable, str(script), *row.more]
    tries = row.large if large else row.small
    shared = "trials import" in text and "parser(" in text
    if tries and (shared or '"--tries"' in text):
        made += ["--tries", str(tries)]
    elif '"--small"' in text and not large:
        made += ["--small"]
    if shared or '"--seed"' in text:
        made += ["--seed", str(seed + row.later)]
    return made


def counts(said: str) -> tuple[int, int]:
    """What was tried and survived, by what a script printed.

    The last line of each name counts; a script of scenarios that hold or break counts them.
    """
    found = [(int(a.replace(",", "")), int(b.replace(",", ""))) for a, b in _COUNTS.findall(said)]
    if found:
        last = said.strip().splitlines()[-1]
        if _COUNTS.search(last) and not _HELD.match(last):
            return found[-1]
        return sum(a for a, _ in found), sum(b for _, b in found)
    held = _HELD.findall(said)
    return len(held), held.count("held")


def run(row: Row, *, large: bool, seed: int) -> Outcome:
    """Runs the script of a row, showing what it prints."""
    if not (HERE / row.script).exists():
        return Outcome(0, 0, 0.0, "there is no such script")
    command = words(row, large=large, seed=seed)
    print(f"--- {row.name}: {' '.join(command[1:])}", flush=True)
    began = time.monotonic()
    said = []
    with subprocess.Popen(
        command, env=with_packages(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            print(line, end="", flush=True)
    text = "".join(said)
    tried, survived = counts(text)
    trouble = ""
    if re.search(r"^(\w+: )?skipped: ", text, re.MULTILINE) and not tried:
        trouble = "skipped"
    elif process.returncode and tried == survived:
        trouble = f"exit code {process.returncode}"
    elif not tried:
        trouble = "nothing was tried"
    return Outcome(tried, survived, time.monotonic() - began, trouble)


def main() -> int:
    """Runs them one after the other; 0 when all held."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = made.add_mutually_exclusive_group(required=True)
    size.add_argument("--small", action="store_true")
    size.add_argument("--large", action="store_true")
    made.add_argument("--only", nargs="+", choices=[row.name for row in ROWS])
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    outcomes = [(row, run(row, large=options.large, seed=options.seed)) for row in rows]
    print(f"\n{'what':<40}{'tried':>8}{'survived':>10}{'seconds':>9}")
    for row, outcome in outcomes:
        notes = ["   DIFFERS"] * (not outcome.held)
        notes += [f"   ({outcome.trouble})"] * bool(outcome.trouble)
        print(
            f"{row.what:<40}{outcome.tried:>8,}{outcome.survived:>10,}{outcome.seconds:>9.0f}"
            + "".join(notes)
        )
    tried = sum(outcome.tried for _, outcome in outcomes)
    survived = sum(outcome.survived for _, outcome in outcomes)
    seconds = sum(outcome.seconds for _, outcome in outcomes)
    print(f"{'all':<40}{tried:>8,}{survived:>10,}{seconds:>9.0f}")
    return int(not all(outcome.held for _, outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
