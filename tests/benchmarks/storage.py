"""Times the run folders and the history, beside plain TinyDB on the same work.

    python tests/benchmarks/storage.py [--runs N] [--steps N] [--repeats N] [--cpu] [--json]

Every figure is a median over the repeats with its smallest and largest value. The peer is
TinyDB as it comes (``JSONStorage``, ``json``): the same documents in one file, the curves of a run
as one document a run, which is the only way in which TinyDB can keep them. It is given every
advantage: one process, no lock, no fsync of the folder, no protection against a kill. ``--cpu``
counts processor time in place of wall time: for a machine that others use too.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from tinydb import TinyDB, where
from tinydb.table import Document

from engine.config.schema import PretrainConfig
from engine.history.history import History
from engine.history.storage import KeyedTinyDB
from engine.runs import RunFolder, own
from engine.runs.metric_log import MetricLog
from engine.runs.metric_writer import encode_line
from engine.runs.record import Record, encode_record

Timing = list[float]
QUEUES = [1024, 4096, 16384]
clock = time.perf_counter


def timed(
    work: Callable[[], object], repeats: int, before: Callable[[], object] | None = None
) -> Timing:
    """Seconds of each of some calls, after one that does not count."""
    seconds = []
    for i in range(repeats + 1):
        if before is not None:
            before()
        gc.collect()  # else a collection of what an earlier call left may fall into this one
        start = clock()
        work()
        if i:
            seconds.append(clock() - start)
    return seconds


def make_runs(root: Path, count: int) -> None:
    """Run folders as finished pretrainings leave them."""
    import msgspec

    rng = random.Random(0)
    config = msgspec.to_builtins(PretrainConfig())
    root.mkdir(parents=True, exist_ok=True)
    trees = {size: {**config, "moco": {**config["moco"], "queue_size": size}} for size in QUEUES}
    for i in range(count):
        tree = trees[rng.choice(QUEUES)]
        record = Record(
            id=f"r{i:05d}",
            kind="pretrain",
            name=f"run number {i}",
            preset="notebook",
            config=tree,
            status=rng.choice(["finished", "finished", "stopped", "failed"]),
            created=1.7e9 + i,
            started=1.7e9 + i,
            ended=1.7e9 + i + 3600,
            host="box",
            device="cpu",
            facts={"threads": 2, "torch": "2.15", "images": 50_000},
            step=242_500,
            total_steps=242_500,
            steps_per_epoch=97,
            epoch=2500.0,
            best={"knn/top1": rng.uniform(30, 80), "train/loss": rng.uniform(5, 12)},
            last={
                "train/loss": rng.uniform(5, 12),
                "train/lr": 1e-5,
                "train/epoch_loss": rng.uniform(5, 12),
                "knn/top1": rng.uniform(30, 80),
            },
        )
        folder = root / record.id
        folder.mkdir()
        (folder / "run.json").write_bytes(encode_record(record))
        if i % 3 == 0:
            RunFolder(folder).user_path.write_text(
                json.dumps({"schema": 1, "name": "", "tags": ["keep"], "note": "a note"})
            )


def make_studies(root: Path, runs: int, count: int = 5) -> None:
    """Add studies of three seeds and two queues, with what they made, to run folders.

    Args:
        root: with ``runs`` pretrainings by hand, see ``make_runs``.
        runs: how many.
        count: of studies.
    """
    import msgspec

    from engine.config.resolve import resolve
    from engine.config.schema import StudyConfig
    from engine.study import grid

    def add(id_: str, kind: str, config: Any, at: int, **values: Any) -> None:
        record = Record(
            id=id_,
            kind=kind,
            config=msgspec.to_builtins(config),
            created=1.7e9 + at,
            status="finished",
            untrained={},
            **values,
        )
        (root / id_).mkdir()
        (root / id_ / "run.json").write_bytes(encode_record(record))

    for number in range(count):
        config = resolve(
            StudyConfig, preset_name="quick-study", extra={"seeds": [n + number for n in range(3)]}
        )
        study, at = f"s{number}", runs + 100 * number
        add(study, "study", config, at, name=f"study {number}")
        for unit, (variant, seed) in enumerate(grid.pretrainings(config)):
            id_, name = f"{study}t{unit}", grid.name_of(variant, seed)
            pretrain = grid.pretrain_config(config, variant, seed)
            add(id_, "pretrain", pretrain, at + 1, name=name, study=study)
            for place, point in enumerate(grid.probe_points(config)):
                probe = grid.probe_config(config, variant, seed, point)
                words = {"name": f"p; {name}", "study": study, "parent": id_}
                add(f"{id_}p{place}", "probe", probe, at + 2, **words)


def study_rows(root: Path, repeats: int) -> tuple[Timing, Timing]:
    """Seconds to find which runs belong to the studies of a folder, and to look again soon after.

    The first is worked out anew when a run begins or ends, and every five seconds while one is
    trained; the second is what every other look of the app takes. Both are in a thread of their
    own; a key waits for them as far as Python lets one thread alone compute.
    """
    from moco_tui.present.run_rows import row_of
    from moco_tui.present.study_rows import StudyRows

    rows = {entry.id: row_of(entry) for entry in History(root).list()}
    moment = [0.0]
    found = StudyRows(root, monotonic=lambda: moment[0])

    def anew() -> None:
        moment[0] += 60.0
        placed = found.related(rows)
        assert sum(row.study == "s0" for row in placed.values()) > 6

    return timed(anew, repeats), timed(lambda: found.related(rows), repeats)


def make_log(path: Path, steps: int) -> None:
    """The metric log of the notebook's training."""
    rng = random.Random(0)
    with path.open("wb") as file:
        for step in range(1, steps + 1):
            values = {"train/loss": rng.uniform(5, 12), "train/lr": 0.06 * (1 - step / steps)}
            if step % 97 == 0:
                values["train/epoch_loss"] = rng.uniform(5, 12)
            if step % 970 == 0:
                values["knn/top1"] = rng.uniform(30, 80)
            file.write(encode_line(step, step / 97, 1.7e9 + step * 0.07, values))


def resident_megabytes(code: str, *args: str) -> float:
    """Resident memory of a fresh process after it ran some code, in MiB."""
    # Not ru_maxrss: a child inherits it from the process that forked it.
    tail = "\nimport psutil\nprint(psutil.Process().memory_info().rss)"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *args], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 2**20


OPEN_OURS = """
import sys
from pathlib import Path
from engine.history.history import History
history = History(Path(sys.argv[1]))
entries = history.list()
assert len(entries) == int(sys.argv[2])
"""
OPEN_PLAIN = """
import sys
from tinydb import TinyDB
documents = TinyDB(sys.argv[1]).table("runs").all()
assert len(documents) == int(sys.argv[2])
"""


def measure(work: Path, runs: int, steps: int, repeats: int) -> list[dict[str, Any]]:
    """All figures: what, ours, the peer's, target, unit."""
    root = work / "runs"
    make_runs(root, runs)
    rows: list[dict[str, Any]] = []

    def row(what: str, ours: Timing, peer: Timing | None, target: str, unit: str = "ms") -> None:
        rows.append({"what": what, "unit": unit, "target": target, "ours": ours, "peer": peer})

    rebuilt = timed(lambda: History(root).reindex(), min(repeats, 5))
    documents = {d.doc_id: dict(d) for d in KeyedTinyDB(root / "history.json").table("runs")}
    plain_path = work / "plain.json"
    plain = TinyDB(plain_path)
    table = plain.table("runs")
    table.insert_multiple(Document(d, doc_id=i + 1) for i, d in enumerate(documents.values()))
    row(f"index of {runs} runs made anew from the folders", rebuilt, None, "")
    history = History(root)
    row(
        f"open and list {runs} runs (every folder's times checked)",
        timed(lambda: History(root).list(), repeats),
        timed(lambda: TinyDB(plain_path).table("runs").all(), repeats),
        "< 1000",
    )
    history.list()
    row(
        "list again",
        timed(history.list, repeats),
        timed(table.all, repeats),
        "",
    )
    row(
        "list with the filter knn>60 queue_size=4096",
        timed(lambda: history.list("knn>60 queue_size=4096"), repeats),
        timed(
            lambda: table.search((where("last")["knn/top1"] > 60) & ~where("config").exists()),
            repeats,
            table.clear_cache,
        ),
        "",
    )
    some = f"r{runs // 2:05d}"
    row(
        "one status change in the index",
        timed(lambda: history.upsert(some), repeats),
        timed(lambda: table.update({"status": "stopped"}, doc_ids=[runs // 2]), repeats),
        "< 50",
    )

    make_studies(root, runs)
    anew, again = study_rows(root, repeats)
    row(f"which of {runs} runs belong to 5 studies", anew, None, "< 50")
    row("the same soon after", again, None, "< 50")

    folder = RunFolder(root / f"r{runs // 3:05d}")
    tree = json.loads(folder.record_path.read_bytes())
    folder.record_path.write_text(json.dumps({**tree, "status": "stopped"}))
    with own(folder) as owner:
        owner.transition("running")
        flips = []
        for _ in range(repeats):
            start = clock()
            owner.transition("paused")
            owner.transition("running")
            flips.append((clock() - start) / 2)
        row("one status change for the trainer (record on disk)", flips, None, "")
        count = 20_000
        values = {"train/loss": 9.123456, "train/lr": 0.06}
        at = [0]

        def log_steps() -> None:
            for _ in range(count):
                at[0] += 1
                owner.metrics(at[0], at[0] / 97, values)

        def poll_requests() -> None:
            for _ in range(count):
                owner.request()

        logged = [s / count for s in timed(log_steps, repeats)]
        polled = [s / count for s in timed(poll_requests, repeats)]
        row("one step logged (metrics)", logged, None, "< 0.010")
        row("one look for requests", polled, None, "")
        owner.transition("stopped")

    log_path = work / "metrics.jsonl"
    make_log(log_path, steps)
    log = MetricLog(log_path)
    log.poll()
    curves = {
        n: {"step": list(log.series(n)[0]), "value": list(log.series(n)[1])} for n in log.names()
    }
    curve_path = work / "curves.json"
    TinyDB(curve_path).insert(curves)

    def load() -> None:
        assert MetricLog(log_path).poll()

    def load_plain_lines() -> None:
        out: dict[str, list[float]] = {}
        with log_path.open() as file:
            for line in file:
                for name, value in json.loads(line).items():
                    out.setdefault(name, []).append(value)

    row(
        f"load a log of {steps} steps; peer: one TinyDB document",
        timed(load, repeats),
        timed(lambda: TinyDB(curve_path).all(), repeats),
        "< 300",
    )
    row(
        "the same; peer: json line by line",
        timed(load, repeats),
        timed(load_plain_lines, repeats),
        "",
    )

    def tail() -> None:
        with log_path.open("ab") as file:
            at[0] += 1
            file.write(encode_line(10**7 + at[0], 0.0, 0.0, values))
        log.poll()

    row("read one new line of that log", timed(tail, repeats), None, "")
    mine = [resident_megabytes(OPEN_OURS, str(root), str(runs)) for _ in range(3)]
    theirs = [resident_megabytes(OPEN_PLAIN, str(plain_path), str(runs)) for _ in range(3)]
    row(f"memory of a process that lists {runs} runs", mine, theirs, "< 150", "MiB")
    return rows


def show(values: Timing | None, unit: str) -> str:
    """Median and range."""
    if values is None:
        return ""
    scale = 1000.0 if unit == "ms" else 1.0
    middle, low, high = (f(values) * scale for f in (statistics.median, min, max))
    return f"{middle:.4g} ({low:.4g}-{high:.4g})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=242_500)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cpu", action="store_true", help="processor time in place of wall time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dir", type=Path, default=None, help="file system to measure on")
    args = parser.parse_args()
    if args.cpu:
        global clock
        clock = time.process_time
    work = Path(tempfile.mkdtemp(dir=args.dir))
    try:
        rows = measure(work, args.runs, args.steps, args.repeats)
    finally:
        shutil.rmtree(work)
    load = os.getloadavg()[0]
    if args.json:
        print(json.dumps({"cores": os.cpu_count(), "load": load, "rows": rows}))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores (load {load:.1f}), "
        f"Python {platform.python_version()}, {date.today().isoformat()}; "
        f"{'processor' if args.cpu else 'wall'} time, median (smallest-largest) of {args.repeats}"
    )
    print("| | unit | ours | TinyDB | ratio | target |\n|---|---|---|---|---|---|")
    for r in rows:
        ratio = ""
        if r["peer"]:
            ratio = f"{statistics.median(r['peer']) / statistics.median(r['ours']):.2f}x"
        print(
            f"| {r['what']} | {r['unit']} | {show(r['ours'], r['unit'])} | "
            f"{show(r['peer'], r['unit'])} | {ratio} | {r['target']} |"
        )


if __name__ == "__main__":
    main()
