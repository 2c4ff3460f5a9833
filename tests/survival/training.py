"""Kills real trainings with SIGKILL at random moments, and compares them with an undisturbed one.

    python tests/survival/training.py [--kills 200] [--seed N]

Each training is resumed from its last checkpoint until it is done. Then every tensor of its final
checkpoint (encoders, queue, pointer, optimizer, generators) and every point of its curves must be
bit-equal to those of an undisturbed training. The history must list every run at any time. Prints
one line; the exit code is 0 when every check passed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
# Before torch is imported. A forked child cannot use OpenMP's threads of its parent.
os.environ["OMP_NUM_THREADS"] = "1"

import torch
from PIL import Image

from engine.config.resolve import build
from engine.config.schema import PretrainConfig
from engine.history.history import History
from engine.jobs.execute import execute
from engine.pretrain import checkpoint as checkpoints
from engine.runs import RunFolder, create


def make_images(folder: Path, rng: random.Random) -> None:
    """Ten classes of small coloured noise."""
    for label in range(10):
        for part, count in (("train", 12), ("test", 4)):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True)
            for i in range(count):
                Image.frombytes("RGB", (32, 32), rng.randbytes(3072)).save(place / f"{i}.png")


def configuration(images: Path) -> PretrainConfig:
    """A training of some seconds with a checkpoint every epoch and kNN every other."""
    return build(
        PretrainConfig,
        {
            "data.source": f"folder:{images}",
            "optim.batch_size": 16,
            "model.bn_splits": 2,
            "optim.epochs": 12,
            "moco.queue_size": 100,
            "model.dim": 16,
            "log.checkpoint_epochs": 1,
            "log.checkpoint_seconds": 3600,
            "monitor.knn_every": 2,
            "monitor.knn_k": 5,
            "runtime.threads": 1,
            "runtime.device": "cpu",
        },
    )


def start(run: RunFolder, data_dir: Path) -> int:
    """Trains in a forked process, which shares the imports of this one; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        execute(run, data_dir=data_dir)
        code = 0
    finally:
        os._exit(code)


def finish(pid: int) -> int:
    """Waits for a process; its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def curves(run: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """Every point of every metric."""
    log = run.metrics()
    log.poll()
    return {name: list(zip(*log.series(name), strict=True)) for name in log.names()}


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Paths of what is not bit-equal in two nested states."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
        return [] if same else [where]
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [d for key in a for d in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i in range(len(a)) for d in differences(a[i], b[i], f"{where}/{i}")]
    return [] if a == b else [where]


def main() -> int:
    """Trains, kills, resumes, compares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    work = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    try:
        make_images(work / "images", rng)
        config = configuration(work / "images")
        root = work / "runs"
        quiet = create(root, "pretrain", config, name="undisturbed")
        assert finish(start(quiet, work / "data")) == 0, quiet.log_tail(20)
        record = quiet.record()
        assert record.started is not None
        assert record.ended is not None
        seconds = record.ended - record.started
        wanted_curves = curves(quiet)
        wanted_state = checkpoints.load(quiet.checkpoint_path)
        killed = runs = from_start = 0
        while killed < args.kills:
            run = create(root, "pretrain", config, name=f"killed {runs}")
            runs += 1
            while run.status() != "finished":
                pid = start(run, work / "data")
                if killed < args.kills:
                    # At most 60 % of a training: most are killed once or more before they end.
                    time.sleep(rng.uniform(0.0, 0.6 * seconds))
                    os.kill(pid, signal.SIGKILL)
                code = finish(pid)
                assert code in (0, -signal.SIGKILL), (code, run.log_tail(20))
                killed += code != 0
                assert run.status() in ("queued", "lost", "finished"), run.status()
                from_start += code != 0 and not run.checkpoint_path.exists()
                listed = {entry.id: entry.status for entry in History(root).list()}
                assert len(listed) == runs + 1, listed
                assert "damaged" not in listed.values(), listed
            assert curves(run) == wanted_curves, "a curve differs"
            wrong = differences(checkpoints.load(run.checkpoint_path), wanted_state)
            assert not wrong, wrong
            run.checkpoint_path.unlink()
        assert not list(root.glob("history.json.damaged-*")), "the index was damaged"
        steps = max(step for step, _ in wanted_curves["train/loss"])
        print(
            f"{killed} kills of {runs} trainings of {steps} steps ({seconds:.1f} s undisturbed; "
            f"{from_start} before a first checkpoint): every tensor and every point bit-equal "
            f"[{time.perf_counter() - began:.0f} s]"
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
