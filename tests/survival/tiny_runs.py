"""A training of a second, the same one undisturbed, and what a disturbed one must be like.

Everything is done by commands (``warm``): an interrupted run is resumed until it is finished, and
then every tensor of its checkpoint and every point of its curves must be those of the undisturbed
one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.survival.warm import Done, Place  # isort: skip - imports torch as the others need it

import torch
from PIL import Image

from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder
from tests.survival.run_files import curves, steps_in_file
from tests.survival.trials import hold, unclean, until

SETTINGS: dict[str, object] = {
    "data.holdout": 0.25,
    "model.dim": 8,
    "model.bn_splits": 2,
    "moco.queue_size": 20,
    "optim.batch_size": 8,
    "optim.epochs": 6,
    "monitor.knn_every": 2,
    "monitor.knn_k": 5,
    "augment.rotation.enabled": "false",
    "augment.blur.enabled": "false",
    "augment.color_jitter.enabled": "false",
    "log.checkpoint_epochs": 1,
    "log.checkpoint_seconds": 3600,
    "runtime.device": "cpu",
    "runtime.threads": 1,
    "runtime.precision": "float32",
}
"""36 steps in about a second; a checkpoint every epoch and kNN every other."""
SMALL = 65536
"""Bytes of a temporary file that a kill may leave behind: records and indexes, no checkpoint."""
TIMES = ("seconds", "time", "created", "started", "ended", "duration")
"""Keys of a checkpoint or result that hold moments and durations, which differ."""


def draw_images(folder: Path, chance: random.Random) -> None:
    """Four classes of small coloured noise, 12 to train and 4 to test each."""
    for label in range(4):
        for part, count in (("train", 12), ("test", 4)):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True)
            for i in range(count):
                Image.frombytes("RGB", (32, 32), chance.randbytes(3072)).save(place / f"{i}.png")


def words(images: Path, **changes: object) -> list[str]:
    """Options of ``pretrain`` for the small training; changes with __ for the dot."""
    given = {**SETTINGS, "data.source": f"folder:{images}"}
    given |= {key.replace("__", "."): value for key, value in changes.items()}
    return [word for key, value in given.items() for word in ("--set", f"{key}={value}")]


def digest(value: Any) -> str:
    """A digest of tensors, numbers, texts and what is made of them, less the times."""
    taken = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            plain = value.detach().contiguous().cpu()
            taken.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
            taken.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                if key not in TIMES:
                    taken.update(f"{key!r}:".encode())
                    take(value[key])
        elif isinstance(value, list | tuple):
            taken.update(f"[{len(value)}".encode())
            for item in value:
                take(item)
        else:
            taken.update(repr(value).encode())

    take(value)
    return taken.hexdigest()


@dataclass(frozen=True)
class End:
    """Where a training ends.

    Attributes:
        state: digest of the checkpoint.
        points: every point of every curve.
        steps: in the order of the file.
    """

    state: str
    points: dict[str, list[tuple[int, float]]]
    steps: list[int]


def end_of(place: Place, run: RunFolder) -> End:
    """Where a finished run ended."""

    def take() -> int:
        print(digest(checkpoints.load(run.checkpoint_path)))
        return 0

    done = place.python(take, "digest")
    hold(done.code == 0, f"the checkpoint of a finished run cannot be read: {done}")
    return End(done.out.decode().strip(), curves(run), steps_in_file(run))


def check_end(place: Place, run: RunFolder, wanted: End) -> None:
    """The run ended where the undisturbed one did."""
    found = end_of(place, run)
    hold(found.state == wanted.state, "the last checkpoint differs from the undisturbed one")
    for name in wanted.points.keys() | found.points.keys():
        different = set(wanted.points.get(name, [])) ^ set(found.points.get(name, []))
        hold(not different, f"the curve {name} differs at {sorted(different)[:4]}")
    hold(found.steps == wanted.steps, "a step is missing in the metric log, or is there twice")


def check_words(done: Done, *, codes: tuple[int, ...]) -> None:
    """Nothing but a plain exit code, and sentences in place of tracebacks.

    What a command prints for people may hold no control character; a bar returns with \\r.
    """
    hold(done.code in codes, f"not an exit code of {codes}: {done}")
    hold(b"Traceback (most recent" not in done.err + done.out, f"a traceback: {done}")
    strange = [c for c in unclean(done.out + done.err) if c != "U+000D"]
    hold(not strange, f"{strange} on the terminal: {done}")
    if done.code in (1, 2):
        lines = [line for line in re.split(rb"[\r\n]", done.err) if line.startswith(b"moco-tui: ")]
        hold(lines and lines[-1].rstrip().endswith((b".", b"?", b"!")), f"no sentence: {done}")


def only_run(place: Place) -> RunFolder | None:
    """The run of a folder in which one was made; None when it was killed before that."""
    found = [RunFolder(path.parent) for path in place.root.glob("[!.]*/run.json")]
    hold(len(found) <= 1, f"several runs: {found}")
    return found[0] if found else None


def check_readable(place: Place, ids: set[str]) -> None:
    """Every run is listed and shown, and the index can be read."""
    listed = place.call("runs", "--json")
    check_words(listed, codes=(0,))
    states = {row["id"]: row["state"] for row in json.loads(listed.out)}
    hold(set(states) == ids, f"listed: {states}, made: {ids}")
    hold("damaged" not in states.values(), f"listed: {states}")
    for run in ids:
        check_words(place.call("show", run, "--json"), codes=(0,))
    if ids:
        index = json.loads((place.root / "history.json").read_bytes())
        hold(set(index["runs"]) >= ids, f"the index on disk lacks a run: {set(index['runs'])}")
    damaged = list(place.root.glob("history.json.damaged-*"))
    hold(not damaged, f"the index was damaged: {damaged}")


def wait_for_rest(run: RunFolder, seconds: float = 120.0) -> None:
    """Waits until no process works on the run."""
    until("the run to be at rest", lambda: not run.alive(), seconds, lambda: run.log_tail(5))


def resume_to_end(place: Place, run: RunFolder, attempts: int = 3) -> int:
    """Resumes a run until it is finished; how often that took."""
    for attempt in range(attempts):
        if run.status() == "finished":
            return attempt
        done = place.call("resume", run.id)
        check_words(done, codes=(0,))
    hold(run.status() == "finished", f"not finished after {attempts} times: {run.status()}")
    return attempts


def check_left_over(root: Path) -> int:
    """No temporary file of more than ``SMALL`` bytes stays behind; how many smaller ones do."""
    found = []
    for path in root.rglob(".*"):
        with contextlib.suppress(OSError):
            if path.name.endswith((".tmp", ".new")) or path.name.startswith(".checkpoint"):
                found.append((path.relative_to(root), path.lstat().st_size))
    large = [f"{path} ({size:,} bytes)" for path, size in found if size > SMALL]
    hold(not large, f"left behind: {large}")
    return len(found)
