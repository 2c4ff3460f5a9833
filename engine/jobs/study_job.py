"""A study as a run: its steps are the cells of its grid, and each of its runs takes the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import StudyConfig
from engine.data.dataset import Dataset
from engine.jobs.job import DataKept, JobContext, JobInputs, ResumePoint
from engine.jobs.study_checks import check_study, check_variants
from engine.jobs.study_run import cells_done, identities, run_study
from engine.pretrain.loop import Outcome
from engine.runs import Record, RunFolder
from engine.runtime.device import Runtime, resolve_runtime
from engine.study.grid import pretrain_config, reference, variants


@dataclass(frozen=True)
class StudyJob:
    """See ``engine.jobs.job.Job``.

    Attributes:
        config: the configuration.
        runtime: of its pretrainings; see ``Job.runtime``.
        dataset: the images of its reference.
        datasets: those of all of its variants, by ``Variant.data``.
    """

    config: StudyConfig
    runtime: Runtime
    dataset: Dataset
    datasets: Mapping[str, Dataset]
    locks_device: ClassVar[bool] = False  # each of its runs takes the lock for itself
    data_kept: ClassVar[DataKept] = "none"  # runs with other data do not count

    @staticmethod
    def runtime_config(config: StudyConfig) -> RuntimeConfig:
        """That of its pretrainings."""
        return config.pretrain.runtime

    @classmethod
    def prepare(cls, config: StudyConfig, runtime: Runtime, inputs: JobInputs) -> Self:
        """See ``Job.prepare``."""
        resolve_runtime(config.probe.runtime)  # refuses a device that is not there
        datasets: dict[str, Dataset] = {}
        for variant in variants(config):
            if variant.data not in datasets:
                pretrain = pretrain_config(config, variant, config.seeds[0])
                datasets[variant.data] = inputs.dataset(pretrain.data)
        check_variants(config, datasets)
        check_study(config, datasets)
        return cls(config, runtime, datasets[reference(config).data], datasets)

    @staticmethod
    def resume_point(folder: RunFolder, record: Record) -> ResumePoint | None:  # noqa: ARG004
        """None: the history says which cells are done."""
        return None

    def resume_step(self, record: Record, point: ResumePoint | None, root: Path) -> int | None:
        """How many cells the history has."""
        if not record.step:
            return None
        return cells_done(self.config, RunFolder(root / record.id), identities(self.datasets))

    def run(self, context: JobContext, point: ResumePoint | None) -> Outcome:
        """See ``Job.run``."""
        run_study(
            self.config,
            study=context.folder,
            data_dir=context.data_dir,
            datasets=self.datasets,
            sink=context.sink,
            device=self.runtime.name,
            execute=context.execute,
        )
        return "finished"
