"""A probe as a run: it keeps the rows that are ready, on a device of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch

from engine.config.schema import ProbeConfig, RuntimeConfig
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.jobs.job import JobContext, JobInputs, ResumePoint
from engine.jobs.trained_encoder import TrainedEncoder
from engine.pretrain.loop import Outcome
from engine.probe.feature_sources import SharedSources, Sources
from engine.probe.probe_run import check_probe, probe_sources, steps_kept
from engine.runs import Record, RunFolder
from engine.runtime.device import Runtime


@dataclass(frozen=True)
class ProbeJob:
    """See ``engine.jobs.job.Job``.

    Attributes:
        config: the configuration.
        runtime: see ``Job.runtime``.
        dataset: the images.
        encoder: what the probe is about.
        sources: makes the features.
    """

    config: ProbeConfig
    runtime: Runtime
    dataset: Dataset
    encoder: TrainedEncoder
    sources: Sources | SharedSources
    locks_device: ClassVar[bool] = True

    @staticmethod
    def runtime_config(config: ProbeConfig) -> RuntimeConfig:
        """See ``Job.runtime_config``."""
        return config.runtime

    @classmethod
    def prepare(cls, config: ProbeConfig, runtime: Runtime, inputs: JobInputs) -> Self:
        """See ``Job.prepare``."""
        encoder = inputs.encoder()  # first, since its pretraining says which images
        dataset = inputs.dataset(encoder.config.data)
        check_probe(config, dataset)
        sources = inputs.study.sources if inputs.study is not None else None
        return cls(
            config, runtime, dataset, encoder, sources or sources_of(encoder, dataset, runtime)
        )

    @staticmethod
    def resume_point(folder: RunFolder, record: Record) -> ResumePoint:  # noqa: ARG004
        """The rows that are ready; all rows are computed alike, so the facts hold without any."""
        return ResumePoint(record.result, record.facts)

    def resume_step(self, record: Record, point: ResumePoint | None, root: Path) -> int | None:
        """The steps of the rows that are kept."""
        if record.started is None:
            return None
        return steps_kept(
            record.result,
            self.config,
            dataset=self.dataset,
            pretrained=self.encoder.encoder,
            mean=self.encoder.mean,
        )

    def run(self, context: JobContext, point: ResumePoint | None) -> Outcome:
        """See ``Job.run``."""
        done = None if point is None else point.state
        try:
            result = probe_sources(self.config, self.sources, sink=context.sink, done=done)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"The memory of {self.runtime.name} ran out during the probe; lower "
                "linear.batch_size or supervised.batch_size, or free the device."
            ) from error
        context.sink.result(result)
        return "finished"


def sources_of(trained: TrainedEncoder, dataset: Dataset, runtime: Runtime) -> Sources:
    """What makes the features of a probe of an encoder."""
    return Sources(
        trained.encoder,
        trained.config.model,
        dataset,
        trained.mean,
        trained.std,
        runtime.device,
    )
