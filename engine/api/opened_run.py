"""A run as an object: its state, its metrics and results, its encoder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.api.columns import Column, columns, curve
from engine.api.pretrained_encoder import Images, PretrainedEncoder
from engine.api.progress_reports import StopOnInterrupt, Watcher, joined
from engine.api.study_results import StudyResults, results_of
from engine.config.missing_settings import flat_config, missing_values
from engine.config.schema import AnyConfig, StudyConfig
from engine.errors import RunError
from engine.exchange.imported_run import checked_statistics
from engine.history.history import History
from engine.jobs.execute import execute
from engine.jobs.job import Job
from engine.jobs.recorded_config import config_of
from engine.jobs.trained_encoder import load_encoder
from engine.runs import MetricLog, Record, RunFolder, ShownStatus
from engine.runs.data_identity import last_identity
from engine.runs.ownership import owned_ids, users_of
from engine.runs.provenance import merged
from engine.study.report import report
from engine.study.study_state import state_from_entries


class Run:
    """A pretraining, a probe or a study, read from its folder whoever computes it.

    Everything is read when it is asked for, so an object of a run that goes on stays true.

    Args:
        folder: the run.
        data_dir: where data sets and their caches live.

    Attributes:
        folder: the run, for what this class does not offer.

    >>> run.kind, run.status, run.name
    ('pretrain', 'finished', 'first')
    >>> run.settings["moco.queue_size"]
    64
    """

    def __init__(self, folder: RunFolder, data_dir: Path) -> None:
        self.folder = folder
        self._data_dir = data_dir

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    # ------------------------------------------------------------------------------ what it is

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.folder.id

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @property
    def record(self) -> Record:
        """Everything that is recorded of it, see ``engine.runs.Record``.

        Raises:
            RunError: when it cannot be read; so does every property below.
        """
        return self.folder.record()

    @property
    def name(self) -> str:
        """What people call it; its id where it has no name."""
        return self.folder.title()

    @property
    def kind(self) -> str:
        """``pretrain``, ``probe`` or ``study``."""
        return self.record.kind

    @property
    def status(self) -> ShownStatus:
        """What is shown of it: ``queued``, ``running``, ``finished``, ``stopped``, ``lost`` ..."""
        return self.folder.status()

    @property
    def config(self) -> AnyConfig:
        """Its configuration, whatever version wrote it."""
        return config_of(self.record)

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings by dotted name."""
        record = self.record
        found = flat_config(record.kind, record.config)
        return {**found, **missing_values(record.kind, found)}

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it came from, see ``engine.runs.provenance``; empty for one of an earlier version.

        >>> "packages.torch" in run.provenance
        True
        """
        return merged(self.record.provenance)

    def log(self, lines: int = 20) -> list[str]:
        """The last lines of its log."""
        return self.folder.log_tail(lines)

    # ------------------------------------------------------------------------------ its numbers

    def metrics(self) -> dict[str, Column]:
        """All metrics as columns; see ``engine.api.columns.columns``.

        ``pandas.DataFrame(run.metrics())`` and ``polars.DataFrame(run.metrics())`` take them.

        Raises:
            RunError: when they cannot be read.

        >>> table = run.metrics()
        >>> table["step"].dtype, len(table["step"]) == len(table["train/loss"])
        (dtype('int64'), True)
        """
        return columns(self._log())

    def curve(self, name: str) -> dict[str, Column]:
        """One metric at its own steps: ``step``, ``epoch``, ``time`` and ``value``.

        Raises:
            RunError: when it cannot be read, or the run has not measured it.

        >>> sorted(run.curve("train/loss"))
        ['epoch', 'step', 'time', 'value']
        >>> run.curve("accuracy")
        Traceback (most recent call last):
        engine.errors.RunError: The run has measured no accuracy; it has measured train/loss, ...
        """
        return curve(self._log(), name)

    def _log(self) -> MetricLog:
        log = self.folder.metrics()
        log.poll()
        return log

    def rows(self) -> list[dict[str, Any]]:
        """The results of a probe: a row for the encoder and one for each baseline.

        ``source``, ``top1`` (per cent of the test images) between ``low`` and ``high`` (95 %
        interval), ``balanced``, ``majority`` and more.

        Raises:
            RunError: when the run is no probe.

        >>> [row["source"] for row in probe.rows()]
        ['pretrained', 'random-init']
        """
        found = self._of_kind("probe", "has rows").result.get("rows")
        return [copy.deepcopy(row) for row in found or () if isinstance(row, dict)]

    def results(self) -> StudyResults:
        """What a study has found so far, from the runs beside it.

        Raises:
            RunError: when the run is no study.
        """
        record = self._of_kind("study", "has such results")
        config, root = config_of(record), self.path.parent
        assert isinstance(config, StudyConfig)
        entries = History(root, read_only=True).list()
        first = owned_ids(entries, root, users_of(self.path))
        state = state_from_entries(config, entries, last_identity(record.data), first=first)
        return results_of(report(config, state))

    # ------------------------------------------------------------------------------ its encoder

    def encoder(
        self, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> PretrainedEncoder:
        """The query encoder of a pretraining at its last checkpoint, on the CPU, in eval mode.

        Args:
            mean: of the three channels in [0, 1], by which images are normalised: for an encoder
                that was imported without. That of any other is recorded, and cannot be named.
            std: their standard deviation, above 0 and at most 1.

        Raises:
            RunError: when the run is no pretraining, has no checkpoint yet, is an imported encoder
                whose normalisation nobody has named, or has one already that was named again.
            ConfigError: when mean or std cannot be used, or the record names code that this user
                has not named.

        >>> imported.encoder()
        Traceback (most recent call last):
        engine.errors.RunError: The encoder of run ... came without mean and std, ...
        >>> theirs = imported.encoder(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
        >>> theirs.features(np.zeros((2, 32, 32, 3), dtype=np.uint8)).shape
        (2, 512)
        """
        self._of_kind("pretrain", "has an encoder of its own")
        named = checked_statistics(mean, std)
        trained = load_encoder(self.folder)
        if named is not None and not trained.takes_statistics:
            raise RunError(
                f"The encoder of run {self.id} has its own mean and std, which its record holds; "
                "leave both out."
            )
        if named is not None:
            trained = trained.normalised_by(*map(torch.tensor, named))
        if trained.takes_statistics:
            raise RunError(
                f"The encoder of run {self.id} came without mean and std, so its images cannot be "
                "normalised; name both, as encoder(mean=..., std=...)."
            )
        return PretrainedEncoder(trained)

    def features(
        self,
        images: Images,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> Tensor | NDArray[np.float32]:
        """``PretrainedEncoder.features`` of the encoder, on the CPU.

        Args:
            images: see ``Images``.
            mean: see ``encoder``.
            std: likewise.

        Raises:
            RunError, ConfigError: see ``encoder``.
            DataError: when they are no images that it takes.

        >>> run.features(np.zeros((5, 32, 32, 3), dtype=np.uint8)).shape[0]
        5
        """
        return self.encoder(mean=mean, std=std).features(images)

    def _of_kind(self, kind: str, what: str) -> Record:
        record = self.record
        if record.kind != kind:
            noun = "pretraining" if kind == "pretrain" else kind
            raise RunError(f"Run {self.id} is a {record.kind}; only a {noun} {what}.")
        return record

    # ------------------------------------------------------------------------------ its training

    def resume(self, *, progress: Watcher | None = None, allow_other_data: bool = False) -> Run:
        """Go on from the last checkpoint, in this thread, until the end; a queued run begins.

        Args:
            progress: told how it goes on.
            allow_other_data: also where images or labels are no longer those it began with.

        Returns:
            This run; its ``status`` says how it ended.

        Raises:
            RunBusyError: another process computes it.
            TrainingError: it failed.
            UserError: it could not go on.
            KeyboardInterrupt: Ctrl+C was pressed; the run has stopped with a checkpoint.

        >>> run.resume().status
        'finished'
        """
        if self.status != "finished":
            self.compute(progress, allow_other_data=allow_other_data)
        return self

    def compute(
        self,
        progress: Watcher | None = None,
        *,
        prepared: Job | None = None,
        allow_other_data: bool = False,
    ) -> None:
        """``resume`` of a run in any state, perhaps with what ``prepare`` gave for it."""
        with StopOnInterrupt() as caught:
            execute(
                self.folder,
                data_dir=self._data_dir,
                sink=joined(caught, progress),
                prepared=prepared,
                allow_other_data=allow_other_data,
            )
        if caught.interrupted:
            raise KeyboardInterrupt
