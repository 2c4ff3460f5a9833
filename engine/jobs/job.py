"""The interface of a kind of run to ``engine.jobs.execute``, and the inputs it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from engine.config.run_schema import RuntimeConfig
from engine.config.schema import DataConfig
from engine.data.dataset import Dataset, load_dataset
from engine.evaluate.tasks import Material
from engine.jobs.study_team import StartWorker
from engine.jobs.trained_encoder import TrainedEncoder, load_encoder
from engine.pretrain.loop import Outcome
from engine.probe.feature_sources import FeaturesForManyProbes
from engine.runs import Record, RunFolder, by_id
from engine.runtime.device import Runtime
from engine.sink import Sink

DataKept = Literal["none", "train", "all"]


@dataclass(frozen=True)
class StudyContext:
    """What a study has loaded already for the runs that it executes.

    Attributes:
        dataset: the images.
        encoder: what its probes are about; None for a pretraining.
        sources: makes the features of all probes of that encoder; None for a pretraining.
        material: the labels of the probe that comes next; None for a pretraining.
        device: ``runtime.device`` of this process, see ``recorded_config.placed``.
    """

    dataset: Dataset
    encoder: TrainedEncoder | None = None
    sources: FeaturesForManyProbes | None = None
    material: Material | None = None
    device: str = ""


@dataclass(frozen=True)
class JobInputs:
    """Where a run finds its images and its encoder.

    Attributes:
        root: folder of the run folders.
        parent: id of the pretraining, for a probe.
        data_dir: where data sets and their caches live.
        sink: receives the progress of reading.
        checkpoint: which one of the parent, see ``Record``.
        start: the checkpoint that a pretraining goes on from; None where it begins anew, or has
            one of its own.
        study: what is loaded already, for a run of a study.
    """

    root: Path
    parent: str
    data_dir: Path
    sink: Sink
    checkpoint: str = ""
    start: Path | None = None
    study: StudyContext | None = None

    def dataset(self, config: DataConfig) -> Dataset:
        """The images.

        Raises:
            DataError: when they cannot be read.
            Interrupted: when the sink asked to stop meanwhile.
        """
        if self.study is not None:
            return self.study.dataset
        return load_dataset(
            config, data_dir=self.data_dir, sink=self.sink, own_folders=(self.root,)
        )

    def encoder(self) -> TrainedEncoder:
        """The encoder of the parent.

        Raises:
            RunError: when there is none, or it cannot be read.
        """
        if self.study is not None and self.study.encoder is not None:
            return self.study.encoder
        return load_encoder(by_id(self.root, self.parent), self.checkpoint)


@dataclass(frozen=True)
class ResumePoint:
    """Where an earlier part of the same run ended.

    Attributes:
        state: what the run continues from: the checkpoint of a pretraining, the result so far of a
            probe. May be empty.
        facts: see ``Plan.facts``; the next part computes with the same threads and precision,
            which change the last bits of the numbers.
        notice: a sentence for the log where it is not the last one that was saved.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    notice: str = ""


class Execute(Protocol):
    """``engine.jobs.execute.execute``, as a study calls it for each of its runs."""

    def __call__(
        self, folder: RunFolder, *, data_dir: Path, sink: Sink | None, study: StudyContext | None
    ) -> Outcome:
        """See ``engine.jobs.execute.execute``."""
        ...


@dataclass(frozen=True)
class JobContext:
    """What ``Job.run`` is given beside the job's own inputs.

    Attributes:
        folder: of the run.
        data_dir: where data sets and their caches live.
        allow_other_data: a resume goes on also with other images or labels.
        sink: receives everything; its requests are those to the run.
        execute: trains a run, for the runs of a study. Handed over, since ``engine.jobs.execute``
            imports the modules of a study, which therefore cannot import it.
        start_worker: starts a worker of a study; None where none can be started.
    """

    folder: RunFolder
    data_dir: Path
    sink: Sink
    execute: Execute
    allow_other_data: bool = False
    start_worker: StartWorker | None = None


class Job(Protocol):
    """A run whose device, images and encoder are found and checked; a class for each kind of run.

    ``engine.jobs.job_table`` names the classes. In the class methods ``config`` is of the type
    that belongs to the kind.

    Attributes:
        locks_device: whether the run takes the lock of its device while it is trained.
        data_kept: the part of the data that may not change when a run is resumed: ``train``,
            ``all``, or ``none`` where the run looks at its data anew.
    """

    locks_device: ClassVar[bool]
    data_kept: ClassVar[DataKept]

    @property
    def runtime(self) -> Runtime:
        """The resolved device, precision and threads; already applied to the process."""
        ...

    @property
    def dataset(self) -> Dataset:
        """The images."""
        ...

    @staticmethod
    def runtime_config(config: Any) -> RuntimeConfig:
        """What a configuration asks of device, precision and threads."""
        ...

    @classmethod
    def prepare(cls, config: Any, runtime: Runtime, inputs: JobInputs) -> Self:
        """The run, with everything that it needs before its first step.

        Raises:
            UserError: one sentence on what is missing or does not fit.
        """
        ...

    @staticmethod
    def resume_point(folder: RunFolder, record: Record) -> ResumePoint | None:
        """What an earlier part of the run has left; None when there is nothing to keep.

        Raises:
            RunError: when it cannot be read.
        """
        ...

    def resume_step(self, record: Record, point: ResumePoint | None, root: Path) -> int | None:
        """The last step that is kept; metrics of later steps are void.

        Args:
            record: as it was before this start.
            point: see ``resume_point``.
            root: folder of the run folders.

        Returns:
            None for a run that begins.
        """
        ...

    def run(self, context: JobContext, point: ResumePoint | None) -> Outcome:
        """Trains until the end or until the sink asks to stop.

        Raises:
            Interrupted: asked to stop outside of the loop over steps.
            UserError: it failed.
        """
        ...
