"""Many processes change tags, notes, names and the trash at once; nothing that was said is lost.

    python tests/survival/notes.py [--small] [--only NAME ...]

Each scenario prints one line, ``NAME: held: tried N, kept N ...``; the exit code is 0 when every
check passed. The large form (8 processes x 100 changes, a few minutes) is the default; ``--small``
is what the tests run. Every change is a command, called as a person calls it; what counts is that
its exit code is 0 when it was written, and only then.

    tags       each process adds tags of its own, to one run and to many
    notes      each process appends to the note of one run, which is reading and writing it
    names      each process renames one run and others, while tags are added to the same
    trash      runs are deleted and restored while tags are added to them; a tag whose command said
               0 is on the run in the end, wherever the run was meanwhile
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from engine.config.schema import ProbeConfig
from engine.history.history import History
from engine.history.index import note_change
from engine.history.trash import TRASH_NAME
from engine.runs import RunFolder, UserNotes, create, own
from moco_tui.cli import main as moco_tui

MANY = 5  # runs, where a scenario changes many

Said = tuple[list[str], int]
"""The words of a command and its exit code."""


class Lost(AssertionError):  # noqa: N818 - reads as a sentence
    """Raised with the sentence that did not hold."""


def hold(condition: object, promise: str) -> None:
    """Like assert, also under ``python -O``: raises ``Lost`` with the sentence."""
    if not condition:
        raise Lost(promise)


# --------------------------------------------------------------------------------------------
# What one of the processes does


def tags(number: int, ids: list[str], count: int) -> Iterator[list[str]]:
    """Tags of its own, first all on the first run, then on all in turn."""
    for i in range(count):
        yield ["tag", ids[0] if i % 2 else ids[i % len(ids)], f"+t{number}-{i}"]


def names(number: int, ids: list[str], count: int) -> Iterator[list[str]]:
    """A name, then a tag, on the same run."""
    for i in range(count):
        id_ = ids[0] if i % 2 else ids[i % len(ids)]
        yield ["rename", id_, f"n{number}-{i}"]
        yield ["tag", id_, f"+t{number}-{i}"]


def trash(number: int, ids: list[str], count: int) -> Iterator[list[str]]:
    """Half of the processes delete and restore, the others add tags."""
    rng = random.Random(number)
    for i in range(count):
        id_ = rng.choice(ids[:2])
        if number % 2:
            yield ["tag", id_, f"+t{number}-{i}"]
        else:
            yield ["delete", id_]
            yield ["restore", id_]


def append_notes(root: Path, number: int, ids: list[str], count: int) -> Iterator[Said]:
    """A letter of its own at the end of the note; no command appends, so by its function."""
    letter = "abcdefgh"[number]

    def append(notes: UserNotes) -> None:
        notes.note += letter

    history = History(root)
    for _ in range(count):
        history.change_notes(ids[0], append, timeout=60.0)
        yield [letter], 0


WORK: dict[str, Callable[[int, list[str], int], Iterator[list[str]]]] = {
    "tags": tags,
    "names": names,
    "trash": trash,
}


def work(scenario: str, root: Path, number: int, count: int, ids: list[str]) -> None:
    """Does the work of one process, and prints as JSON what it said and what the answer was."""
    if scenario == "notes":
        said = list(append_notes(root, number, ids, count))
    else:
        said = [(words, call(root, words)) for words in WORK[scenario](number, ids, count)]
    print(json.dumps(said))


def call(root: Path, words: list[str]) -> int:
    """Calls a command; its exit code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            moco_tui(["--runs-dir", str(root), *words])
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
    hold("Traceback" not in err.getvalue(), err.getvalue())
    hold(code in (0, 2), f"{words}: exit code {code}: {err.getvalue()}")
    hold(code == 0 or err.getvalue().count("\n") == 1, f"{words}: {err.getvalue()}")
    return code


# --------------------------------------------------------------------------------------------
# What must hold in the end


def run_all(scenario: str, root: Path, processes: int, count: int) -> tuple[list[str], list[Said]]:
    """Makes runs, lets processes work on them, and returns their ids and all that was said."""
    ids = []
    for _ in range(MANY):
        folder = create(root, "probe", ProbeConfig())
        with own(folder, on_change=note_change) as owner:
            owner.transition("running")
            owner.transition("finished")
        ids.append(folder.id)
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", scenario, root, str(n), str(count), *ids],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(processes)
    ]
    said: list[Said] = []
    for process in running:
        out, err = process.communicate()
        hold(process.returncode == 0, err)
        said += [(words, code) for words, code in json.loads(out)]
    return ids, said


def check_tags(root: Path, ids: list[str], said: list[Said]) -> tuple[int, int]:
    """How many tags were said to be there, and how many are; each must be where it was put."""
    wanted = {(w[1], w[2][1:]) for w, code in said if w[0] == "tag" and code == 0}
    refused = {(w[1], w[2][1:]) for w, code in said if w[0] == "tag" and code != 0}
    there = {(id_, tag) for id_ in ids for tag in RunFolder(root / id_).user().tags}
    hold(not (wanted - there), f"{len(wanted - there)} of {len(wanted)} tags are lost")
    hold(not (refused & there), "a command said 2 and wrote its tag")
    hold(there == wanted, "a tag is there that nobody added")
    listed = {(entry.id, tag) for entry in History(root).list() for tag in entry.tags}
    hold(listed == there, "the list shows other tags than the runs have")
    return len(wanted), len(wanted & there)


def check(scenario: str, processes: int, count: int) -> str:
    """Runs a scenario; what it tried and what was kept."""
    with tempfile.TemporaryDirectory(prefix="notes-") as place:
        root = Path(place) / "runs"
        ids, said = run_all(scenario, root, processes, count)
        by_code = Counter(code for _, code in said)
        if scenario == "notes":
            note = RunFolder(root / ids[0]).user().note
            counts = Counter(note)
            kept = sum(min(counts[letter], count) for letter in "abcdefgh"[:processes])
            hold(kept == len(note) == processes * count, f"{kept} of {processes * count} kept")
            return f"tried {len(said)}, kept {kept}: appended to one note"
        if scenario == "trash":
            for id_ in ids:  # each run is in one of the two places, once
                is_deleted = (root / TRASH_NAME / id_).exists()
                hold(is_deleted != (root / id_).exists(), f"{id_} is lost or doubled")
                if is_deleted:
                    hold(call(root, ["restore", id_]) == 0, f"{id_} cannot be restored")
        else:
            hold(by_code[2] == 0, f"{by_code[2]} of {len(said)} commands said 2")
        tried, kept = check_tags(root, ids, said)
        if scenario == "names":
            for id_ in ids:
                given = {w[2] for w, code in said if w[0] == "rename" and w[1] == id_}
                hold(RunFolder(root / id_).user().name in given, "a name is none that was given")
        moved = sum(1 for w, code in said if w[0] in ("delete", "restore") and code == 0)
        more = f"; {moved} moves to the trash and back" if moved else ""
        refused = f"; {by_code[2]} commands said 2 and did nothing" if by_code[2] else ""
        return f"tried {tried}, kept {kept} of {len(said)} commands{more}{refused}"


def main() -> int:
    """Runs the scenarios; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="+", default=[*WORK, "notes"])
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        scenario, root, number, count, *ids = given.child
        work(scenario, Path(root), int(number), int(count), ids)
        return 0
    processes, count = (4, 10) if given.small else (8, 100)
    failed = False
    for scenario in given.only:
        try:
            line = f"held: {check(scenario, processes, count)}"
        except Lost as error:
            line, failed = f"BROKEN: {error}", True
        print(f"{scenario}: {line}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
