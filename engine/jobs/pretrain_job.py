"""A pretraining as a run: it continues from its checkpoint, and locks its device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import PretrainConfig
from engine.data.dataset import Dataset
from engine.jobs.job import DataKept, JobContext, JobInputs, ResumePoint
from engine.pretrain import checkpoint as checkpoints
from engine.pretrain.loop import Outcome, check_batch, pretrain
from engine.pretrain.state_check import check_count
from engine.runs import Record, RunFolder
from engine.runs.export import with_events
from engine.runs.kept_checkpoints import BEST
from engine.runtime.device import Runtime


@dataclass(frozen=True)
class PretrainJob:
    """See ``engine.jobs.job.Job``.

    Attributes:
        config: the configuration.
        runtime: see ``Job.runtime``.
        dataset: the images.
    """

    config: PretrainConfig
    runtime: Runtime
    dataset: Dataset
    locks_device: ClassVar[bool] = True
    data_kept: ClassVar[DataKept] = "train"

    @staticmethod
    def runtime_config(config: PretrainConfig) -> RuntimeConfig:
        """See ``Job.runtime_config``."""
        return config.runtime

    @classmethod
    def prepare(cls, config: PretrainConfig, runtime: Runtime, inputs: JobInputs) -> Self:
        """See ``Job.prepare``."""
        dataset = inputs.dataset(config.data)
        check_batch(config, len(dataset.train))
        return cls(config, runtime, dataset)

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
        # Steps that were made before the first checkpoint are lost: their metrics are void.
        return None if record.started is None else 0

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
        events = context.folder.path / "tensorboard" if self.config.log.tensorboard else None
        with with_events(context.sink, events) as sink:
            return pretrain(
                self.config,
                dataset=self.dataset,
                runtime=self.runtime,
                sink=sink,
                checkpoint=context.folder.checkpoint_path,
                state=None if point is None else with_best(point.state, context.folder.record()),
                allow_other_data=context.allow_other_data,
            )


def with_best(state: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """A loaded checkpoint with the best kNN so far.

    One of an earlier version does not name it: there the record does, and that encoder is gone.
    """
    known = record.best.get("knn/top1")
    if BEST in state or known is None:
        return dict(state)
    return {**state, BEST: {"knn": known, "step": 0}}
