"""A pretraining as a run: it continues from its checkpoint, and locks its device."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from engine.config.phrases import listed
from engine.config.run_schema import RuntimeConfig
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.errors import DataError
from engine.jobs.job import DataKept, JobContext, JobInputs, ResumePoint
from engine.jobs.rank_sink import RankSink
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.branch import check_start, first_step
from engine.pretrain.loop import Outcome, check_batch, pretrain
from engine.pretrain.rank_step import check_ranks
from engine.pretrain.state_check import check_count
from engine.runs import Record, RunFolder
from engine.runs.data_identity import differences, identity_in
from engine.runs.export import with_events
from engine.runs.kept_checkpoints import BEST
from engine.runs.record import branch_words
from engine.runtime.device import Runtime
from engine.runtime.process_group import Ranks


@dataclass(frozen=True)
class PretrainJob:
    """See ``engine.jobs.job.Job``.

    Attributes:
        config: the configuration.
        runtime: see ``Job.runtime``.
        dataset: the images.
        start: of another run, the loaded checkpoint that this one goes on from; None where it
            begins anew, or has one of its own.
    """

    config: PretrainConfig
    runtime: Runtime
    dataset: Dataset
    start: Mapping[str, Any] | None = None
    locks_device: ClassVar[bool] = True
    data_kept: ClassVar[DataKept] = "train"

    @staticmethod
    def runtime_config(config: PretrainConfig) -> RuntimeConfig:
        """See ``Job.runtime_config``."""
        return config.runtime

    @classmethod
    def prepare(cls, config: PretrainConfig, runtime: Runtime, inputs: JobInputs) -> Self:
        """See ``Job.prepare``."""
        start = None
        if inputs.start is not None:  # first: it refuses more than the images do
            start = checkpoints.load(inputs.start)
            check_start(start, config, f"The checkpoint {inputs.start}")
        ranks = runtime.ranks
        if ranks is not None:
            check_ranks(config, ranks.world)
        with contextlib.nullcontext() if ranks is None else ranks.in_turn():
            dataset = inputs.dataset(config.data)
        check_batch(config, len(dataset.train))
        then = None if start is None else identity_in(start.get("data"))
        changed = [] if then is None else differences(then, dataset.identity, test=False)
        if changed:
            raise DataError(
                f"The data are not those that {inputs.start} was trained on: {listed(changed)} "
                "changed; put them back, or begin a new run."
            )
        if ranks is not None:  # last: behind it, every rank can train
            ranks.ready({"images": f"the images {dataset.identity.train_images}"}, inputs.sink)
        return cls(config, runtime, dataset, start)

    @staticmethod
    def resume_point(folder: RunFolder, record: Record) -> ResumePoint | None:
        """The last checkpoint, or the one before it; None where there is none yet."""
        if not checkpoints.exists(folder.checkpoint_path):
            return None
        state, notice = checkpoints.load_last(folder.checkpoint_path)
        return ResumePoint(state, record.facts, notice)

    def resume_step(self, record: Record, point: ResumePoint | None, root: Path) -> int | None:
        """The step of the checkpoint; 0 for a run that ended before its first one."""
        if point is not None:
            return check_count(point.state.get("step"), None, "step")
        if self.start is not None:
            return self._first_step(self.start)
        # Steps that were made before the first checkpoint are lost: their metrics are void.
        return None if record.started is None else 0

    def _first_step(self, start: Mapping[str, Any]) -> int:
        return first_step(start, len(self.dataset.train) // self.config.optim.batch_size)

    def run(self, context: JobContext, point: ResumePoint | None) -> Outcome:
        """See ``Job.run``."""
        if point is not None:
            if point.notice:
                context.sink.log(point.notice)
            step = int(point.state["step"])
            context.sink.log(f"resuming after step {step}")
            # A process that was killed between its checkpoint and its record left an earlier one
            # there; where no step is left, no further checkpoint would put that right. A resume
            # from the checkpoint before the last finds a later one there.
            if context.folder.record().checkpoint_step != step:
                context.sink.checkpointed(step)
        elif self.start is not None:
            record = context.folder.record()
            step = self._first_step(self.start)
            whence = branch_words(record.began_from) or "another run"
            context.sink.log(f"going on from {whence} after step {step}")
        ranks, told = self.runtime.ranks, context.sink
        if ranks is not None:
            ranks.folder, told = str(context.folder.path), RankSink(context.sink, ranks)
        if point is not None and (words := other_ranks(point.facts, ranks)):
            told.log(words)
        events = context.folder.path / "tensorboard" if self.config.log.tensorboard else None
        with with_events(told, events) as sink:
            outcome = pretrain(
                self.config,
                dataset=self.dataset,
                runtime=self.runtime,
                sink=sink,
                checkpoint=context.folder.checkpoint_path,
                state=None if point is None else with_best(point.state, context.folder.record()),
                allow_other_data=context.allow_other_data,
                start=self.start if point is None else None,
            )
        if outcome == "finished":  # it has a checkpoint of its own, and needs no other any more
            with contextlib.suppress(OSError):
                context.folder.start_path.unlink()
        return outcome


def other_ranks(recorded: Mapping[str, Any], ranks: Ranks | None) -> str:
    """What is said of a run that goes on with another number of ranks; empty for the same.

    Args:
        recorded: the facts of the part before.
        ranks: those that go on; None for one process.
    """
    then, now = recorded.get("ranks", 1), 1 if ranks is None else ranks.world
    if then == now:
        return ""
    return (
        f"computed by {then} rank{'s' * (then != 1)} until now, from here on by {now}: the last "
        "bits and the dropout masks are not those that it would have had"
    )


def with_best(state: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """A loaded checkpoint with the best kNN so far.

    One of an earlier version does not name it: there the record does, and that encoder is gone.
    """
    known = record.best.get("knn/top1")
    if BEST in state or known is None:
        return dict(state)
    return {**state, BEST: {"knn": known, "step": 0}}
