"""Runs a study: pretrains what the history lacks, and probes every encoder once it is there.

A study is a run of its own whose steps are the cells of its grid. Everything that it computes is a
run of its own too, executed like one that a person starts: interrupted, it leaves its present run
with a checkpoint, and continues with that one when it is resumed. Which cells are done is read from
the history each time (``engine.study.study_state``) and not recorded, so that runs made by hand
count.

Several processes may work on one study: each takes the units that nobody has
(``engine.study.workers``), a pretraining with its probes. A baseline belongs to one unit, that of
the first variant and seed that have it, so it is computed once and no other unit waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from engine.config.schema import StudyConfig
from engine.config.variants import Variant
from engine.data.dataset import Dataset
from engine.errors import TrainingError
from engine.history.history import History
from engine.jobs.job import StudyContext
from engine.jobs.study_children import StudyChildren
from engine.jobs.study_probes import (
    StudyLabels,
    describe,
    is_open,
    open_probes,
    unfinished_probe,
    views_per_image,
    with_baselines,
)
from engine.jobs.trained_encoder import load_encoder
from engine.runs import RunFolder
from engine.runs.data_identity import DataIdentity
from engine.runs.ownership import users_of
from engine.sink import Interrupted, PausableSink, Plan, Sink, check_interrupt
from engine.study.grid import (
    Cell,
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
from engine.study.workers import Units

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


class StudyRun:
    """One part of a study, from its start or resumption to its end; see ``study_start``.

    ``begin``, then ``compute`` (or wait for the workers that do, with ``left``), then ``finish``.

    Args:
        config: the grid.
        study: folder of the study; its runs lie beside it.
        datasets: the images of its variants.
        sink: that of the study, or of the worker.
        children: make and train its runs.
        is_worker: another process has the study.
    """

    def __init__(
        self,
        config: StudyConfig,
        study: RunFolder,
        datasets: Datasets,
        sink: Sink,
        children: StudyChildren,
        *,
        is_worker: bool = False,
    ) -> None:
        self.config, self.study, self.datasets = config, study, datasets
        self.root, self.is_worker = study.path.parent, is_worker
        self.dataset = datasets[reference(config).data]
        self.identities = identities(datasets)
        self.users = users_of(study.path)
        self.sink = PausableSink(sink)
        self.children = children
        self.history = History(self.root, read_only=True)  # the owners of the runs write the index
        self.labels = {name: StudyLabels(config, dataset) for name, dataset in datasets.items()}
        self.units = Units(study)
        self.elsewhere: list[int] = []  # units that other processes have
        self.done = 0

    def begin(self, device: str) -> None:
        """Reports what there is to do."""
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

    def compute(self) -> None:
        """Computes what is missing, and waits for what other processes work on."""
        # Again after each wait: a run of another process may have ended without being finished.
        while True:
            self.children.busy.clear()
            self.elsewhere.clear()
            for unit, (variant, seed) in enumerate(pretrainings(self.config)):
                check_interrupt(self.sink)
                self._take(unit, variant, seed)
            if not self.children.busy and not self.elsewhere:
                break
            self._wait()

    def left(self) -> int:
        """Reports what others have computed; how many units are left that have not failed."""
        study_state = self._state()
        if study_state.done > self.done:
            self._advance(study_state.done - self.done)
            self._report(study_state)
        places = pretrainings(self.config)
        return sum(is_open(self.config, study_state, variant, seed) for variant, seed in places)

    def finish(self) -> None:
        """Reports the end.

        Raises:
            TrainingError: when something is missing.
        """
        self._end_computed(self._state())
        study_state = self._state()
        self._advance(study_state.done - self.done)
        self._report(study_state)
        self._raise_failed(study_state)
        _check_whole(study_state)

    def _take(self, unit: int, variant: Variant, seed: int) -> None:
        """Computes a unit where something of it is missing and nobody has it."""
        if not self._look(variant, seed):
            return
        self._check_wanted()
        with self.units.claimed(unit) as mine:
            if not mine:
                self.elsewhere.append(unit)
            elif self._look(variant, seed):  # again: whoever had it may have computed it
                self._train_and_probe(variant, seed)

    def _look(self, variant: Variant, seed: int) -> bool:
        study_state = self._state()
        self._advance(study_state.done - self.done)  # cells that other processes have computed
        return is_open(self.config, study_state, variant, seed)

    def _check_wanted(self) -> None:
        """Ends a worker whose study no process has any more.

        Raises:
            Interrupted: then.
        """
        if self.is_worker and not self.study.alive():
            self.sink.log("no process has the study any more: this worker leaves")
            raise Interrupted("stop")

    def _state(self) -> StudyState:
        return _known_state(self.config, self.history, self.identities, self.users)

    def _train_and_probe(self, variant: Variant, seed: int) -> None:
        """One variant and seed: the pretraining and its probes, where any is missing."""
        study_state = self._state()
        trained = study_state.pretrainings[variant.label, seed]
        if trained.state != "finished":
            if not self._pretrain(variant, seed, trained.run):
                return
            study_state = self._state()
            self._advance(study_state.done - self.done)  # that of its kNN
            self._report(study_state)
        self._probe(study_state, variant, seed)

    def _pretrain(self, variant: Variant, seed: int, run: str) -> bool:
        """Trains the encoder of a variant and seed; True when it is finished."""
        config, name = pretrain_config(self.config, variant, seed), name_of(variant, seed)
        return self.children.train(
            self.children.folder(run, "pretrain", config, name=name),
            StudyContext(self.datasets[variant.data], device=config.runtime.device),
            cells_done=self.done,
            announcement=f"{'resuming' if run else 'starting'} the pretraining with {name}",
        )

    def _probe(self, study_state: StudyState, variant: Variant, seed: int) -> None:
        """Computes the missing cells of a finished pretraining."""
        missing = open_probes(self.config, study_state, variant, seed)
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
            material, device = labels.material(point), config.runtime.device
            context = StudyContext(dataset, trained, sources, material, device)
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
        """Returns when something that other processes work on has ended."""
        busy, places = self.children.busy, pretrainings(self.config)
        units = [name_of(*places[unit]) for unit in self.elsewhere]
        names = ", ".join([*(folder.id for folder in busy), *units])
        self.sink.log(f"waiting for what other processes work on: {names}")
        stage = f"waiting for {names}"
        self.sink.progress(stage, 0, 1)
        while all(folder.alive() for folder in busy) and all(
            self.units.held(unit) for unit in self.elsewhere
        ):
            check_interrupt(self.sink)
            self._check_wanted()
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
                "failed": {**study_state.failed, **self.children.failed},
                "protocol": list(protocol(self.config)),
            }
        )

    def _raise_failed(self, study_state: StudyState) -> None:
        failed = {**study_state.failed, **self.children.failed}
        if failed:
            id_, sentence = next(iter(failed.items()))
            noun = "run" if len(failed) == 1 else "runs"
            raise TrainingError(
                f"{len(failed)} {noun} of the study failed, {id_} first: {sentence} "
                f"Everything else is done; moco-tui study {self.study.id} --retry-failed tries "
                "again."
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
