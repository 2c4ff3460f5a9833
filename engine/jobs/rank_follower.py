"""A rank beside rank 0 of a pretraining, from its images to the end of the run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from engine.config.schema import PretrainConfig
from engine.errors import RunError
from engine.history.index import note_change
from engine.jobs.prepare import prepare
from engine.pretrain.follow import follow
from engine.runs import RunFolder
from engine.runs.record import ACTIVE
from engine.runs.takeover import own
from engine.runtime.device_lock import DeviceLock, device_key
from engine.runtime.process_group import Ranks
from engine.sink import NullSink


def follow_run(config: PretrainConfig, ranks: Ranks, *, root: Path, data_dir: Path) -> None:
    """Computes this rank's part of a run, whose folder rank 0 alone writes.

    Args:
        config: of the run.
        ranks: this process is one of them, and not the first.
        root: folder of the run folders.
        data_dir: where data sets and their caches live.

    Raises:
        UserError: one sentence on what is missing or does not fit, on any of the ranks.
        TrainingError: a rank is lost.
    """
    sink = NullSink()
    job = prepare(config, root=root, parent="", data_dir=data_dir, sink=sink)
    runtime = job.runtime
    with contextlib.closing(DeviceLock()) as lock:
        holder = f"rank {ranks.rank} of a run"
        lock.acquire(device_key(runtime.device), name=runtime.name, holder=holder, sink=sink)
        follow(config, dataset=job.dataset, runtime=runtime)


def record_loss(ranks: Ranks, sentence: str) -> bool:
    """Records that a run has failed whose rank 0 has died; never raises.

    Args:
        ranks: of the run.
        sentence: why.

    Returns:
        Whether it was recorded here: False where rank 0 lives and does it, another rank has, or
        rank 0 died before it told where.
    """
    if not ranks.folder:
        return False
    folder = RunFolder(Path(ranks.folder))
    with contextlib.suppress(RunError, OSError), own(folder, on_change=note_change) as owner:
        if owner.record.status in ACTIVE:
            owner.log(sentence)
            owner.transition("failed", error=sentence)
            return True
    return False
