"""Runs a study: pretrains what the history lacks, and probes every encoder once it is there.

A study is a run of its own whose steps are the cells of its grid. Everything that it computes is a
run of its own too, executed like one that a person starts: interrupted, it leaves its present run
with a checkpoint, and continues with that one when it is resumed. Which cells are done is read from
the history each time (``engine.study.study_state``) and not recorded, so that runs made by hand
count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.config.schema import StudyConfig
from engine.config.variants import Variant
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.history.history import History
from engine.jobs.job import Execute, StudyContext
from engine.jobs.study_children import StudyChildren
from engine.jobs.study_probes import (
    StudyLabels,
    describe,
    missing_probes,
    unfinished_probe,
    views_per_image,
    with_baselines,
)
from engine.jobs.trained_encoder import load_encoder
from engine.runs import RunFolder
from engine.runs.data_identity import DataIdentity
from engine.runs.ownership import users_of
from engine.sink import PausableSink, Plan, Sink, check_interrupt
from engine.study.grid import (
    Cell,
    knn_cell,
    name_of,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
    reference,
    variants,
)
from engine.study.protocol import protocol
from engine.study.study_state import StudyData, StudyState, state_from_history

_LOOK_SECONDS = 0.5  # between two looks at the runs of other processes


Datasets = Mapping[str, Dataset]
"""The images of the variants of a study, by ``Variant.data``."""


def identities(datasets: Datasets) -> Mapping[str, DataIdentity]:
    """What identifies the images of a study, by ``Variant.data``."""
    return {name: dataset.identity for name, dataset in datasets.items()}


def cells_done(config: StudyConfig, study: RunFolder, data: StudyData) -> int:
    """How many cells of a study the runs beside it hold, of the data as they are now.

    Raises:
        RunError: when a run of the folder cannot be read, which may be one of the study's.
    """
    history = History(study.path.parent, read_only=True)
    return _known_state(config, history, data, users_of(study.path)).done


def _known_state(
    config: StudyConfig, history: History, data: StudyData, users: frozenset[int]
) -> StudyState:
    """The progress of a study whose missing cells may be computed.

    Raises:
        RunError: when a run cannot be read: its cells would be computed a second time.
    """
    study_state = state_from_history(config, history, data, users=users)
    history.check_readable()
    return study_state


def run_study(
    config: StudyConfig,
    *,
    study: RunFolder,
    data_dir: Path,
    datasets: Datasets,
    sink: Sink,
    device: str,
    execute: Execute,
) -> None:
    """Computes every cell that is missing: seeds outside, variants inside.

    A run of the study that fails is skipped, the others continue, and the study fails at the end.
    For one that another process works on, the study waits when everything else is done.

    Args:
        config: the grid.
        study: its folder; its runs lie beside it. Runs of other users than this one, and the one
            whose study it is, are left alone, and their cells are computed anew.
        data_dir: where data sets and their caches live.
        datasets: the images of its variants.
        sink: receives each cell (metrics), the progress of the run in work, and the outcome so
            far; its requests are passed on to that run.
        device: name of the device, for people.
        execute: ``engine.jobs.execute.execute``, which trains each run of the study.

    Raises:
        Interrupted: the study was asked to stop or to be handed over; the run in work is stopped
            with its resume point.
        TrainingError: some runs failed.
        UserError: a run could not begin.
    """
    children = StudyChildren(study.path.parent, data_dir, sink, execute)
    _StudyRun(config, study, datasets, sink, children).run(device)


class _StudyRun:
    """One part of a study, from its start or resumption to its end; see ``run_study``."""

    def __init__(
        self,
        config: StudyConfig,
        study: RunFolder,
        datasets: Datasets,
        sink: Sink,
        children: StudyChildren,
    ) -> None:
        self.config, self.root, self.datasets = config, study.path.parent, datasets
        self.dataset = datasets[reference(config).data]
        self.identities = identities(datasets)
        self.users = users_of(study.path)
        self.sink = PausableSink(sink)
        self.children = children
        self.history = History(self.root, read_only=True)  # the owners of the runs write the index
        self.labels = {name: StudyLabels(config, dataset) for name, dataset in datasets.items()}
        self.done = 0

    def run(self, device: str) -> None:
        """Computes what is missing, and waits for what other processes work on."""
        study_state = self._state()
        self.done = study_state.done
        self.sink.plan(
            Plan(
                total_steps=len(study_state.cells),
                start_step=self.done,
                device=device,
                facts=self._facts(),
                data=self.dataset.identity.facts(),
            )
        )
        self._report(study_state)
        # Again after each wait: a run of another process may have ended without being finished.
        while True:
            self.children.busy.clear()
            for variant, seed in pretrainings(self.config):
                check_interrupt(self.sink)
                self._train_and_probe(variant, seed)
            if not self.children.busy:
                break
            self._wait()
        self._end_computed(self._state())
        study_state = self._state()
        self._advance(study_state.done - self.done)
        self._report(study_state)
        self._raise_failed()
        _check_whole(study_state)

    def _state(self) -> StudyState:
        return _known_state(self.config, self.history, self.identities, self.users)

    def _train_and_probe(self, variant: Variant, seed: int) -> None:
        """One variant and seed: the pretraining and its probes, where any is missing."""
        study_state = self._state()
        self._advance(study_state.done - self.done)  # cells that other processes have computed
        if not self._is_missing(study_state, variant, seed):
            return
        trained = study_state.pretrainings[variant.label, seed]
        if trained.state != "finished":
            if not self._pretrain(variant, seed, trained.run):
                return
            study_state = self._state()
            self._advance(study_state.done - self.done)  # that of its kNN
            self._report(study_state)
        self._probe(study_state, variant, seed)

    def _is_missing(self, study_state: StudyState, variant: Variant, seed: int) -> bool:
        """Whether a pretraining or one of its probes would give a cell that is not done."""
        if self.config.judge == "knn":
            cell = knn_cell(self.config, variant, seed)
            return study_state.cells[cell].state != "done"
        return bool(missing_probes(self.config, study_state, variant, seed))

    def _pretrain(self, variant: Variant, seed: int, run: str) -> bool:
        """Trains the encoder of a variant and seed; True when it is finished."""
        config, name = pretrain_config(self.config, variant, seed), name_of(variant, seed)
        return self.children.train(
            self.children.folder(run, "pretrain", config, name=name),
            StudyContext(self.datasets[variant.data]),
            cells_done=self.done,
            announcement=f"{'resuming' if run else 'starting'} the pretraining with {name}",
        )

    def _probe(self, study_state: StudyState, variant: Variant, seed: int) -> None:
        """Computes the missing cells of a finished pretraining."""
        missing = missing_probes(self.config, study_state, variant, seed)
        if not missing:
            return
        parent = RunFolder(self.root / study_state.pretrainings[variant.label, seed].run)
        name = name_of(variant, seed)
        labels = self.labels[variant.data]
        trained = load_encoder(parent)
        sources = labels.sources(trained, missing)
        ordered = labels.in_order(missing)
        for number, point in enumerate(ordered):
            check_interrupt(self.sink)
            # Augmented views of all images take the most memory: dropped before the first probe
            # behind which no head uses them (see ``StudyLabels.in_order``).
            if not any(views_per_image(self.config, later.head) for later in ordered[number:]):
                sources.forget_views()
            config = probe_config(self.config, variant, seed, point)
            folder = self.children.folder(
                unfinished_probe(study_state, missing[point], config, self.root),
                "probe",
                with_baselines(config, missing[point]),
                name=f"{describe(point)}; {name}",
                parent=parent.id,
            )
            dataset = self.datasets[variant.data]
            context = StudyContext(dataset, trained, sources, labels.material(point))
            if self.children.train(folder, context, cells_done=self.done):
                self.sink.log(f"{name}: {describe(point)}: {_accuracies(folder)}")
                self._advance(len(missing[point]))

    def _end_computed(self, study_state: StudyState) -> None:
        """Ends the probes whose process was killed between the last result and the end of the run.

        Their cells are done, so nobody would go on with them, and they would stay lost for ever.
        """
        data = {variant.label: variant.data for variant in variants(self.config)}
        done: dict[str, str] = {}  # the data set of each run that is done
        for cell, found in study_state.cells.items():
            # A baseline shared by several variants does not say whose probe computed it.
            if found.state == "done" and (cell.source == "moco" or found.run not in done):
                done[found.run] = data.get(cell.variant or "", "")
        for run, name in done.items():
            folder = RunFolder(self.root / run)
            record = folder.record()
            computed = record.kind == "probe" and 0 < record.total_steps == record.step
            if computed and folder.status(record) == "lost":
                dataset = self.datasets.get(name, self.dataset)
                self.children.train(folder, StudyContext(dataset), cells_done=self.done)

    def _wait(self) -> None:
        """Returns when one of the runs that other processes work on has ended."""
        busy = self.children.busy
        names = ", ".join(folder.id for folder in busy)
        self.sink.log(f"waiting for what other processes work on: {names}")
        stage = f"waiting for {names}"
        self.sink.progress(stage, 0, 1)
        while all(folder.alive() for folder in busy):
            check_interrupt(self.sink)
            time.sleep(_LOOK_SECONDS)
        self.sink.progress(stage, 1, 1)

    def _advance(self, cells: int) -> None:
        """Reports ``cells`` more as done."""
        if cells > 0:
            self.done += cells
            self.sink.metrics(self.done, float(self.done), {"study/cells": float(self.done)})
            self.sink.checkpointed(self.done)

    def _facts(self) -> dict[str, Any]:
        test = self.dataset.test
        return {
            "torch": str(torch.__version__),
            "train_images": len(self.dataset.train),
            "test_images": 0 if test is None else len(test),
            "pretrainings": len(pretrainings(self.config)),
            "probes": len(pretrainings(self.config)) * len(probe_points(self.config)),
        }

    def _report(self, study_state: StudyState) -> None:
        """The outcome so far, for the record."""
        sizes = {variant.label: variant.queue_size for variant in variants(self.config)}
        self.sink.result(
            {
                "cells": study_state.done,
                "total": len(study_state.cells),
                "pretrainings": [
                    {
                        "queue_size": sizes[label],
                        "seed": seed,
                        "run": trained.run,
                        "state": trained.state,
                        "variant": label,
                    }
                    for (label, seed), trained in study_state.pretrainings.items()
                ],
                "failed": dict(self.children.failed),
                "protocol": list(protocol(self.config)),
            }
        )

    def _raise_failed(self) -> None:
        failed = self.children.failed
        if failed:
            id_, sentence = next(iter(failed.items()))
            noun = "run" if len(failed) == 1 else "runs"
            raise TrainingError(
                f"{len(failed)} {noun} of the study failed, {id_} first: {sentence} "
                "Everything else is done; a resume of the study tries again."
            )


def _check_whole(study_state: StudyState) -> None:
    """Refuses to call a study finished that lacks a cell, though none of its runs has failed.

    Raises:
        TrainingError: with how many cells are missing, and the first of them.
    """
    missing = study_state.missing
    if missing:
        verb = "cell of the study has" if len(missing) == 1 else "cells of the study have"
        raise TrainingError(
            f"{len(missing)} {verb} no result, the first {_cell_words(missing[0])}, though no run "
            "of it failed; was one deleted meanwhile? A resume of the study computes what is "
            "missing."
        )


def _cell_words(cell: Cell) -> str:
    encoder = "" if cell.variant is None else f" of {cell.variant}"
    seed = "" if cell.seed is None else f" of seed {cell.seed}"
    head = f", {cell.head}" if cell.head else ""
    return (
        f"that of {cell.source}{encoder}{seed} ({cell.task}, {100 * cell.fraction:g} % of the "
        f"labels{head}, subset {cell.subset_seed})"
    )


def _accuracies(folder: RunFolder) -> str:
    """The accuracies of a finished probe in words."""
    last = folder.record().last
    tops = {
        name.split("/")[1]: value for name, value in last.items() if name.endswith("/test_top1")
    }
    return ", ".join(f"{source} {top:.1f} %" for source, top in tops.items())
