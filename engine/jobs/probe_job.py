"""A probe as a run: it keeps the rows that are finished, and locks its device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch

from engine.config.probe_data import probed_data
from engine.config.run_schema import RuntimeConfig
from engine.config.schema import ProbeConfig
from engine.data.dataset import Dataset
from engine.errors import DataError, TrainingError
from engine.evaluate.tasks import Material, prepare_material
from engine.jobs.job import DataKept, JobContext, JobInputs, ResumePoint
from engine.jobs.trained_encoder import TrainedEncoder
from engine.pretrain.loop import Outcome
from engine.probe.feature_sources import FeaturesForManyProbes, FeaturesForOneProbe
from engine.probe.head import load_head
from engine.probe.probe_run import probe_sources, steps_kept
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
        material: the labels.
    """

    config: ProbeConfig
    runtime: Runtime
    dataset: Dataset
    encoder: TrainedEncoder
    sources: FeaturesForOneProbe | FeaturesForManyProbes
    material: Material
    locks_device: ClassVar[bool] = True
    data_kept: ClassVar[DataKept] = "all"

    @staticmethod
    def runtime_config(config: ProbeConfig) -> RuntimeConfig:
        """See ``Job.runtime_config``."""
        return config.runtime

    @classmethod
    def prepare(cls, config: ProbeConfig, runtime: Runtime, inputs: JobInputs) -> Self:
        """See ``Job.prepare``."""
        encoder = inputs.encoder()  # first, since its pretraining says which images
        dataset = inputs.dataset(probed_data(config, encoder.config.data))
        check_takes(encoder, dataset)
        if encoder.takes_statistics:
            inputs.sink.log("images are normalised by the statistics of the data that is probed")
        encoder = encoder.on(dataset.train.images)
        if encoder.data is not None and encoder.data.train_images != dataset.identity.train_images:
            # A person may want just that, to see how features transfer; the record says it too.
            inputs.sink.log(
                "the encoder was pretrained on other images than those that it is probed on"
            )
        load_head(config)  # refuses a head of the user's own before the run has begun
        study = inputs.study
        material = study.material if study is not None else None
        sources = study.sources if study is not None else None
        if sources is not None and sources.kernels != runtime.kernels:
            sources = None  # a run that goes on computes as it began
        return cls(
            config,
            runtime,
            dataset,
            encoder,
            sources or sources_of(encoder, dataset, runtime),
            material or prepare_material(config, dataset),
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
            result = probe_sources(
                self.config,
                self.sources,
                material=self.material,
                encoder_step=self.encoder.at,
                pretrained_on=self.encoder.trained_on,
                sink=context.sink,
                done=done,
            )
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"The memory of {self.runtime.name} ran out during the probe; lower "
                "linear.batch_size or supervised.batch_size, or free the device."
            ) from error
        context.sink.result(result)
        return "finished"


def check_takes(trained: TrainedEncoder, dataset: Dataset) -> None:
    """Refuses images of a size that an encoder cannot take, before a run is begun.

    Raises:
        DataError: one sentence with the size.
    """
    height, width = dataset.train.images.shape[2:]
    encoder = trained.encoder
    try:
        # devices=[]: an encoder of the user's own may draw random numbers.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            image = torch.zeros(2, 3, height, width, device=next(encoder.parameters()).device)
            features = encoder.backbone(image)
        fits = tuple(features.shape) == (2, encoder.feature_dim)
    except (RuntimeError, ValueError, TypeError):
        fits = False
    if not fits:
        raise DataError(
            f"The images of {dataset.name} have {width}x{height} pixels, which the encoder "
            f"{trained.config.model.encoder} of this run cannot take; it needs images of the size "
            "that it was pretrained on."
        )


def sources_of(trained: TrainedEncoder, dataset: Dataset, runtime: Runtime) -> FeaturesForOneProbe:
    """What makes the features of a probe of an encoder."""
    return FeaturesForOneProbe(
        trained.encoder,
        trained.config.model,
        dataset,
        trained.mean,
        trained.std,
        runtime.device,
        runtime.kernels,
    )
