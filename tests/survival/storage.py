"""Kills processes, fills disks and damages files, and checks what is left of runs and history.

    python tests/survival/storage.py [--small] [--seed N] [--only NAME ...]

Each scenario prints one line of what it did; the exit code is 0 when every check passed. The full
form takes some minutes; ``--small`` is what the tests run.

    kills      trainers are killed with SIGKILL at random moments, while they log, save and change
               states; each is resumed from its last checkpoint until it is done, and its curve
               must be that of an undisturbed training, step for step and bit for bit
    writers    8 processes make 100 status changes each on one index; all 800 must be in it
    damage     every file of a run and the index is emptied, cut, overwritten, removed or replaced
               by a folder, in turn; everything must go on or say one sentence, all else intact
    full-disk  a run on a tmpfs of 1 MiB (needs the right to mount)
    read-only  a file system that becomes read-only under a run (needs the right to mount)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tinydb import TinyDB

from engine.config.schema import PretrainConfig, ProbeConfig
from engine.errors import RunBusyError, RunError, UserError
from engine.files import replace_file
from engine.history.history import History
from engine.history.index import note_change
from engine.runs import RunFolder, RunOwner, create, find
from engine.runs import own as own_run
from engine.runs.export import to_csv, to_json

TOTAL_STEPS = 20_000
CHECKPOINT_STEPS = 500
STATE_STEPS = 800
PACE_STEPS = 20  # the trainer sleeps half a millisecond after every 20 steps, so that kills hit it


class Skipped(Exception):  # noqa: N818 - no error: this machine does not allow the scenario
    """Raised with the reason why a scenario cannot be run here."""


class Broken(AssertionError):  # noqa: N818 - reads as a sentence
    """Raised with the sentence that did not hold."""


def own(run: RunFolder) -> RunOwner:
    """As the engine's jobs own a run: changes of its state go into the index."""
    return own_run(run, on_change=note_change)


def hold(condition: object, promise: str) -> None:
    """Like assert, also under ``python -O``: raises ``Broken`` with the sentence."""
    if not condition:
        raise Broken(promise)


# --------------------------------------------------------------------------------------------
# A trainer without a model: its whole state is one number, so that every step can be checked


def advance(state: int) -> int:
    """The next state: a linear congruential generator of 64 bits (Knuth's MMIX)."""
    return (6364136223846793005 * state + 1442695040888963407) % 2**64


def loss_of(state: int) -> float:
    """The metric of a state."""
    return state / 2**64


def train(run: RunFolder, total: int) -> None:
    """Goes on from the checkpoint to the end, as the engine does."""
    step, state = 0, 1
    if run.checkpoint_path.exists():
        saved = json.loads(run.checkpoint_path.read_bytes())
        step, state = saved["step"], saved["state"]
    with own(run) as owner:
        owner.transition("running")
        owner.resume_at(step)
        while step < total:
            state = advance(state)
            step += 1
            owner.metrics(step, step / 97, {"train/loss": loss_of(state), "train/lr": 0.1})
            if step % PACE_STEPS == 0:
                time.sleep(0.0005)
            request = owner.request()
            if request is not None:
                owner.acknowledge(request, step)
            if step % CHECKPOINT_STEPS == 0 or step == total:
                owner.progress("checkpoint", 0, 1)
                replace_file(
                    run.checkpoint_path, json.dumps({"step": step, "state": state}).encode()
                )
                owner.checkpointed(step)
                owner.progress("checkpoint", 1, 1)
            if step % STATE_STEPS == 0:
                owner.log(f"at {step}")
                owner.transition("paused")
                owner.transition("running")
        owner.transition("finished")


def expected_curve(total: int) -> list[float]:
    """The loss of every step of an undisturbed training."""
    curve, state = [], 1
    for _ in range(total):
        state = advance(state)
        curve.append(loss_of(state))
    return curve


def child(*args: str) -> subprocess.Popen[bytes]:
    """This script again, in another process."""
    return subprocess.Popen([sys.executable, __file__, "--child", *args], stderr=subprocess.PIPE)


# --------------------------------------------------------------------------------------------
# Scenarios


def kills(root: Path, rng: random.Random, *, small: bool) -> str:
    """SIGKILL at random moments."""
    wanted = 12 if small else 200
    count = killed = 0
    moments: dict[str, int] = {}
    history = History(root)
    names = []
    while killed < wanted:
        runs = [create(root, "pretrain", PretrainConfig(), name=f"killed {count}") for _ in "ab"]
        names += [run.id for run in runs]
        count += 2
        while any(run.status() != "finished" for run in runs):
            todo = [run for run in runs if run.status() != "finished"]
            processes = [child("train", str(run.path), str(TOTAL_STEPS)) for run in todo]
            if killed < wanted:
                time.sleep(rng.uniform(0.1, 1.1))
                for process in processes:
                    if process.poll() is None:
                        os.kill(process.pid, signal.SIGKILL)
                        killed += 1
            for run, process in zip(todo, processes, strict=True):
                _, errors = process.communicate()
                hold(process.returncode in (0, -signal.SIGKILL), errors.decode())
                record = run.record()
                status = run.status()
                hold(status in ("queued", "lost", "finished"), f"{status} after a kill")
                moments[status] = moments.get(status, 0) + 1
                log = run.metrics()
                log.poll()
                saved = record.checkpoint_step or 0
                hold(
                    list(log.series("train/loss")[0])[:saved] == list(range(1, saved + 1)),
                    "a step before the checkpoint is not in the log",
                )
                if rng.random() < 0.5:
                    run.set_user(tags=[status], note=f"{killed} kills")
            listed = {entry.id: entry.status for entry in history.list()}
            hold(set(names) == set(listed), "a run is not in the list")
            hold("damaged" not in listed.values(), "a record is damaged")
        for run in runs:
            log = run.metrics()
            log.poll()
            steps, values = log.series("train/loss")
            hold(log.skipped == 0, "a line of the log is broken")
            hold(list(steps) == list(range(1, TOTAL_STEPS + 1)), "a step is missing or doubled")
            hold(
                list(values) == expected_curve(TOTAL_STEPS), "a curve differs from the undisturbed"
            )
            hold(run.record().step == TOTAL_STEPS, "the record is behind")
    hold(not list(root.glob("history.json.damaged-*")), "the index was damaged by a kill")
    documents = json.loads((root / "history.json").read_bytes())["runs"]
    hold(set(documents) == set(names), "the index on disk lacks a run")
    shown = ", ".join(f"{n} {status}" for status, n in sorted(moments.items()))
    return f"{killed} kills of {count} runs (seen after them: {shown}); every curve bit-equal"


def writers(root: Path, rng: random.Random, *, small: bool) -> str:
    """Many processes change one index at the same time."""
    processes, changes = (3, 15) if small else (8, 100)
    plan = []
    for _ in range(processes):
        ids = [create(root, "probe", ProbeConfig()).id for _ in range(changes)]
        rng.shuffle(ids)
        plan.append(ids)
    start = time.perf_counter()
    running = [child("write", str(root), *ids) for ids in plan]
    while any(process.poll() is None for process in running):
        tables = History(root, read_only=True)
        tables.list()
        hold(not tables.notices or "missing" in tables.notices[0], f"{tables.notices}")
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    for process in running:
        _, errors = process.communicate()
        hold(process.returncode == 0, errors.decode())
    table = TinyDB(root / "history.json").table("runs")._read_table()
    kept = sum(1 for document in table.values() if document["status"] == "finished")
    hold(kept == len(table) == processes * changes, f"{kept} of {processes * changes} kept")
    return f"{processes} processes x {changes} status changes: {kept} kept, {seconds:.1f} s"


def write(root: Path, ids: list[str]) -> None:
    """The work of one of the writers."""
    history = History(root, timeout=120)
    for id_ in ids:
        with own(RunFolder(root / id_)) as owner:
            owner.transition("running")
            owner.transition("finished")
        history.upsert(id_)


def _as_folder(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(data: Callable[[random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    def change(path: Path, rng: random.Random) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(data(rng))

    return change


def _truncate(path: Path, rng: random.Random) -> None:
    if path.is_file():
        os.truncate(path, rng.randrange(path.stat().st_size + 1))


def _flip(path: Path, rng: random.Random) -> None:
    if path.is_file() and (data := bytearray(path.read_bytes())):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "removed": lambda path, _: _remove(path),
    "emptied": _write(lambda _: b""),
    "garbage": _write(lambda rng: rng.randbytes(rng.randrange(1, 2000))),
    "zeros": _write(lambda _: bytes(4096)),
    "other JSON": _write(
        lambda rng: rng.choice([b"[]", b"{}", b"5", b'{"schema":1}', b'{"a":{}}'])
    ),
    "newer schema": _write(lambda _: b'{"schema":99,"meta":{"index":{"schema":99}}}'),
    "a folder": lambda path, _: _as_folder(path),
    "cut": _truncate,
    "one bit": _flip,
}
FILES = (
    *("run.json", "user.json", "metrics.jsonl", "devices.jsonl", "log.txt"),
    *("heartbeat", "lock", "control"),
)


def damage(root: Path, rng: random.Random, *, small: bool) -> str:
    """Damages every file in every way, each in a runs folder of its own."""
    names = (*FILES, "history.json", "history.json.lock")
    cases = [(name, how) for name in names for how in DAMAGES] * (1 if small else 12)
    if small:
        cases = rng.sample(cases, 40)
    sentences = 0
    for i, (name, how) in enumerate(cases):
        case = root / f"case{i}"
        sentences += _one_damage(case, name, how, DAMAGES[how], rng)
        shutil.rmtree(case)
    return f"{len(cases)} damages of {len(names)} files: {sentences} sentences, nothing else lost"


def _one_damage(
    root: Path,
    name: str,
    how: str,
    change: Callable[[Path, random.Random], None],
    rng: random.Random,
) -> int:
    good, bad = (create(root, "pretrain", PretrainConfig(), name=n) for n in ("good", "bad"))
    for run in (good, bad):
        run.set_user(tags=["t"])
        with own(run) as owner:
            owner.transition("running")
            owner.metrics(1, 0.1, {"train/loss": 1.0})
            run.request("checkpoint")
            owner.log("hello")
            owner.transition("stopped")
    path = root / name if name.startswith("history") else bad.path / name
    if path.exists():
        change(path, rng)
    said = 0
    where = f"{name} {how}"

    def attempt(work: Callable[[], object]) -> bool:
        nonlocal said
        try:
            work()
        except UserError as error:
            said += 1
            hold("\n" not in str(error) and str(error).endswith("."), f"{where}: {error!r}")
            return False
        except BaseException as error:
            raise Broken(f"{where}: {type(error).__name__}: {error}") from error
        return True

    # Looking at it.
    attempt(bad.record)
    attempt(bad.user)
    attempt(bad.status)
    attempt(bad.alive)
    attempt(bad.title)
    attempt(bad.pending_requests)
    attempt(lambda: bad.log_tail(5))
    attempt(lambda: bad.metrics().poll())
    attempt(lambda: find(root, "bad"))
    attempt(lambda: to_json(bad))
    attempt(lambda: list(to_csv(bad)))
    history = History(root, timeout=0.5)
    if attempt(history.list) and not (name == "run.json" and how == "removed"):
        hold({e.id for e in history.list()} == {good.id, bad.id}, f"{where}: a run is not listed")
    # Working with it.
    attempt(lambda: bad.set_user(note="n"))
    attempt(lambda: history.annotate(bad.id, tags=["x"]))

    def resume() -> None:
        with own(bad) as owner:
            owner.transition("running")
            owner.resume_at(1)
            owner.metrics(2, 0.2, {"train/loss": 2.0})
            owner.request()
            owner.checkpointed(2)
            owner.transition("finished")

    if attempt(resume):
        log = bad.metrics()
        log.poll()
        hold(
            list(log.series("train/loss")[0])[-1:] == [2], f"{where}: a new step is not in the log"
        )
        hold(bad.status() == "finished", f"{where}: the state was not written")
    attempt(lambda: bad.request("stop"))
    attempt(history.reindex)
    attempt(lambda: history.delete(bad.id))
    attempt(lambda: history.restore(bad.id))
    # The other run must be as it was.
    hold(good.record().status == "stopped", f"{where}: another run changed")
    hold(good.user().tags == ("t",), f"{where}: the notes of another run changed")
    log = good.metrics()
    log.poll()
    hold(log.last("train/loss") == 1.0, f"{where}: the metrics of another run changed")
    return said


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A tmpfs of its own."""
    path = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        done = subprocess.CompletedProcess(command, 1, "", "there is no mount command")
    if done.returncode:
        path.rmdir()
        raise Skipped(done.stderr.strip() or "mount is not allowed")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
        path.rmdir()


def _contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def full_disk(root: Path, rng: random.Random, *, small: bool) -> str:
    """A disk that runs full under a run, again and again, each time somewhere else."""
    sentences: set[str] = set()
    rounds = 3 if small else 25
    recorded = 0
    with small_disk(1) as disk:
        for _ in range(rounds):
            runs = disk / "runs"
            before = create(runs, "pretrain", PretrainConfig(), name="before")
            with own(before) as owner:
                owner.transition("running")
                owner.metrics(1, 0.1, {"train/loss": 1.0})
                owner.transition("finished")
            before.set_user(tags=["keep"])
            old = {k: v for k, v in _contents(before.path).items() if k != "heartbeat"}
            run = create(runs, "pretrain", PretrainConfig(), name="fills it")
            filler = disk / "filler"
            sentence = _fill(run, filler, rng)
            sentences.add(sentence.replace(str(run.path), "RUN").replace(str(runs), "RUNS"))
            for name, data in old.items():
                hold(_contents(before.path).get(name) == data, f"{name} of another run changed")
            status = run.status()
            hold(status in ("queued", "lost", "failed"), f"{status} on a full disk")
            recorded += status == "failed"
            with contextlib.suppress(OSError):
                filler.unlink()
            log = run.metrics()
            log.poll()
            steps, values = log.series("train/loss")
            hold(log.skipped == 0, "a line of the log is broken")
            hold(list(steps) == list(range(1, len(steps) + 1)), "a step is missing")
            hold(list(values) == expected_curve(len(steps)), "a value is wrong")
            saved = run.record().checkpoint_step or 0
            hold(len(steps) >= saved, "the log is behind the checkpoint")
            if run.checkpoint_path.exists():
                hold(json.loads(run.checkpoint_path.read_bytes())["step"] >= saved, "checkpoint")
            history = History(runs)
            listed = {entry.id for entry in history.list()}
            hold(listed == {before.id, run.id}, "a run is not listed")
            hold(not list(runs.glob("history.json.damaged-*")), "the index was damaged")
            hold(not list(runs.rglob("*.tmp")), "a temp file was left behind")
            train(run, len(steps) + 10)  # with room again it goes on
            hold(run.status() == "finished", "it cannot be resumed")
            shutil.rmtree(runs)
    shown = "; ".join(sorted(sentences))
    return f"{rounds} full disks: {recorded} recorded as failed, the others queued or lost: {shown}"


def _fill(run: RunFolder, filler: Path, rng: random.Random) -> str:
    """Trains until the disk is full; returns the sentence of the error."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:  # all but the last kilobytes
            file.write(bytes(4096))
    os.truncate(filler, max(0, filler.stat().st_size - rng.randrange(1, 40) * 4096))
    step, state = 0, 1
    try:
        with own(run) as owner:
            owner.transition("running")
            while step < 100_000:
                state = advance(state)
                step += 1
                owner.metrics(step, step / 97, {"train/loss": loss_of(state)})
                if step % 100 == 0:
                    owner.flush()
                    replace_file(
                        run.checkpoint_path, json.dumps({"step": step, "state": state}).encode()
                    )
                    owner.checkpointed(step)
    except RunError as error:
        hold("the disk is full" in str(error), str(error))
        return str(error)
    except OSError as error:  # the checkpoint of this script itself
        hold(error.errno == 28, str(error))
        return "the checkpoint"
    raise Broken("the disk never ran full")


def _records(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Records, notes and checkpoints: the files that must not change, unlike heartbeat and lock."""
    return {k: v for k, v in contents.items() if k.endswith(("run.json", "user.json", ".pt"))}


@contextlib.contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be changed, even by root."""
    if subprocess.run(["chattr", "-R", "+i", str(folder)], check=False).returncode:
        raise Skipped("files cannot be made immutable")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-R", "-i", str(folder)], check=True)


def read_only(root: Path, rng: random.Random, *, small: bool) -> str:
    """A file system that becomes read-only under a run."""
    sentences = set()
    with small_disk(4) as disk:
        run = create(disk, "pretrain", PretrainConfig(), name="a")
        with own(run) as owner:
            owner.transition("running")
            owner.metrics(1, 0.1, {"train/loss": 1.0})
            owner.flush()
            # A mount with an open file cannot be made read-only: immutable files can.
            with immutable(run.path):
                before = _contents(disk)
                for work in (
                    lambda: owner.checkpointed(2),
                    lambda: owner.transition("failed", error="x"),
                ):
                    try:
                        work()
                    except RunError as error:
                        sentences.add(str(error).replace(str(run.path), "RUN"))
                    else:
                        raise Broken("nothing was said")
                hold(run.status() == "running", "a viewer sees it while its process lives")
                owner.close()
                hold(run.status() == "lost", "it is not derived as lost")
            hold(_records(_contents(disk)) == _records(before), "something changed")
        before = _contents(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        history = History(disk)
        hold([e.status for e in history.list()] == ["lost"], "it cannot be listed")
        refused: tuple[Callable[[], object], ...] = (
            lambda: own(run),
            lambda: create(disk, "pretrain", PretrainConfig()),
            lambda: run.set_user(note="x"),
            lambda: history.delete(run.id),
            lambda: history.reindex(),
        )
        for attempt in refused:
            try:
                attempt()
            except RunBusyError as error:
                raise Broken(str(error)) from error
            except RunError as error:
                hold("read-only" in str(error), str(error))
                sentences.add(str(error).replace(str(run.path), "RUN").replace(str(disk), "RUNS"))
            else:
                raise Broken("nothing was said")
        hold(_contents(disk) == before, "something changed")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with own(run) as owner:
            owner.transition("running")
            owner.transition("finished")
    return "one sentence each: " + "; ".join(sorted(sentences))


SCENARIOS = {
    "kills": kills,
    "writers": writers,
    "damage": damage,
    "full-disk": full_disk,
    "read-only": read_only,
}


def main() -> int:
    """Runs the scenarios."""
    if sys.argv[1:2] == ["--child"]:
        what, path, *rest = sys.argv[2:]
        if what == "train":
            train(RunFolder(Path(path)), int(rest[0]))
        else:
            write(Path(path), rest)
        return 0
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    args = parser.parse_args()
    failed = 0
    for name in args.only:
        root = Path(tempfile.mkdtemp())
        start = time.perf_counter()
        try:
            said = SCENARIOS[name](root, random.Random(args.seed), small=args.small)
            word = "held"
        except Skipped as reason:
            said, word = str(reason), "skipped"
        except Broken as broken:
            said, word = str(broken), "BROKEN"
            failed += 1
        finally:
            shutil.rmtree(root, ignore_errors=True)
        print(f"{name}: {word}: {said} [{math.ceil(time.perf_counter() - start)} s]", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
