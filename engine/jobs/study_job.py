"""A study as a run: its steps are the cells of its grid, and each of its runs takes the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from engine.config.device_list import devices_text
from engine.config.run_schema import RuntimeConfig
from engine.config.schema import StudyConfig
from engine.data.dataset import Dataset
from engine.jobs.job import DataKept, JobContext, JobInputs, ResumePoint
from engine.jobs.study_checks import check_study, check_variants
from engine.jobs.study_run import cells_done, identities
from engine.jobs.study_shares import Share, on_one_device, shares_of
from engine.jobs.study_start import run_study, run_worker
from engine.pretrain.loop import Outcome
from engine.runs import Record, RunFolder
from engine.runtime.device import Runtime, resolve_runtime
from engine.study.grid import pretrain_config, reference, variants
from engine.study.workers import WORKERS, study_of


@dataclass(frozen=True)
class StudyJob:
    """See ``engine.jobs.job.Job``.

    Attributes:
        config: the configuration.
        runtime: of its pretrainings; see ``Job.runtime``.
        dataset: the images of its reference.
        datasets: those of all of its variants, by ``Variant.data``.
        shares: what each of its workers computes with.
    """

    config: StudyConfig
    runtime: Runtime
    dataset: Dataset
    datasets: Mapping[str, Dataset]
    shares: tuple[Share, ...]
    locks_device: ClassVar[bool] = False  # each of its runs takes the lock for itself
    data_kept: ClassVar[DataKept] = "none"  # runs with other data do not count

    @staticmethod
    def runtime_config(config: StudyConfig) -> RuntimeConfig:
        """That of its pretrainings; of several devices that of the first."""
        return shares_of(config)[0].pretrain if config.devices else config.pretrain.runtime

    @classmethod
    def prepare(cls, config: StudyConfig, runtime: Runtime, inputs: JobInputs) -> Self:
        """See ``Job.prepare``."""
        shares = shares_of(config)
        resolve_runtime(shares[0].probe)  # refuses a device that is not there
        if len(shares) == 1:
            config = on_one_device(config, runtime.device)
        if inputs.parent and inputs.root.name == WORKERS:  # a worker: its runs lie beside the study
            inputs = replace(inputs, root=inputs.root.parent.parent)
        datasets: dict[str, Dataset] = {}
        for variant in variants(config):
            if variant.data not in datasets:
                pretrain = pretrain_config(config, variant, config.seeds[0])
                datasets[variant.data] = inputs.dataset(pretrain.data)
        check_variants(config, datasets)
        check_study(config, datasets)
        return cls(config, runtime, datasets[reference(config).data], datasets, shares)

    @staticmethod
    def resume_point(folder: RunFolder, record: Record) -> ResumePoint | None:  # noqa: ARG004
        """None: the history says which cells are done."""
        return None

    def resume_step(self, record: Record, point: ResumePoint | None, root: Path) -> int | None:
        """How many cells the history has."""
        if not record.step:
            return None
        folder = RunFolder(root / record.id)
        return cells_done(self.config, study_of(folder) or folder, identities(self.datasets))

    def run(self, context: JobContext, point: ResumePoint | None) -> Outcome:
        """See ``Job.run``."""
        study = study_of(context.folder)
        if study is not None:
            run_worker(
                self.config,
                study=study,
                data_dir=context.data_dir,
                datasets=self.datasets,
                sink=context.sink,
                device=self.runtime.name,
                execute=context.execute,
            )
            return "finished"
        run_study(
            self.config,
            study=context.folder,
            data_dir=context.data_dir,
            datasets=self.datasets,
            sink=context.sink,
            device=self._device_words(),
            execute=context.execute,
            shares=self.shares,
            start_worker=context.start_worker,
        )
        return "finished"

    def _device_words(self) -> str:
        """Where it is computed, for people."""
        if len(self.shares) == 1:
            return self.runtime.name
        return devices_text(share.pretrain.device for share in self.shares)
