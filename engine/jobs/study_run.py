"""Runs a study: pretrains what the history lacks, and probes every encoder once it is there.

A study is a run of its own whose steps are the cells of its grid. Everything that it computes is a
run of its own too, trained by the same path as one that a person starts: interrupted, it leaves
its present run with a checkpoint, and goes on with that one when it is resumed. What is done is
asked of the history each time (``engine.study.grid``), never remembered.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from engine.config.schema import PretrainConfig, ProbeConfig, StudyConfig, head_settings
from engine.data.dataset import Dataset
from engine.errors import RunBusyError, RunError, TrainingError
from engine.evaluate.tasks import Material, prepare_material
from engine.history.history import History
from engine.jobs.execute import LoadedEncoder, Shared, execute, load_encoder
from engine.jobs.nested_sink import NestedSink
from engine.probe.feature_sources import FeaturesForManyProbes, FeaturesForOneProbe
from engine.probe.head import load_head
from engine.runs import RunFolder, create
from engine.runtime.device import resolve_runtime
from engine.sink import Interrupted, PausableSink, Plan, Sink, check_interrupt
from engine.study.grid import (
    Cell,
    ProbePoint,
    StudyState,
    cells_of,
    look,
    plain,
    pretrain_config,
    pretrainings,
    probe_config,
    probe_points,
    row_key,
)
from engine.study.report import protocol

_LOOK = 0.5  # seconds between two looks at a run of another process


def check_study(config: StudyConfig, dataset: Dataset) -> None:
    """Refuses a study whose probes the data cannot carry, before anything is computed.

    Raises:
        DataError: one sentence on what is missing.
        ConfigError: when a head of the user's own is none.
    """
    first = pretrainings(config)[0]
    for head in config.heads:
        place = ProbePoint(config.tasks[0], config.label_fractions[0], head, config.subset_seeds[0])
        load_head(_probe_config(config, *first, place))
    least = min(config.label_fractions)
    for task in config.tasks:
        place = ProbePoint(task, least, config.heads[0], config.subset_seeds[0])
        prepare_material(_probe_config(config, *first, place), dataset)


def cells_done(config: StudyConfig, root: Path) -> int:
    """How many cells of the study the runs of a folder hold."""
    return _done(look(config, History(root, read_only=True)))


def run_study(
    config: StudyConfig,
    *,
    root: Path,
    data_dir: Path,
    dataset: Dataset,
    sink: Sink,
    device: str,
) -> None:
    """Computes every cell that is missing: seeds outside, queue sizes inside.

    A run of the study that fails is left, the others go on, and the study fails at the end. One
    that another process works on is waited for when everything else is done.

    Args:
        config: the grid.
        root: folder of the run folders, of the study's runs too.
        data_dir: where data sets and their caches live.
        dataset: the images of ``config.pretrain.data``.
        sink: hears of each cell (metrics), of the run that goes on (progress, log) and of the
            outcome so far; its requests reach that run.
        device: name of the device, for people.

    Raises:
        Interrupted: the study was asked to stop or to be handed over; the run that went on is
            stopped with its resume point.
        TrainingError: some runs failed.
        UserError: a run could not begin.
    """
    _Study(config, root, data_dir, dataset, sink).run(device)


def _probe_config(config: StudyConfig, size: int, seed: int, place: ProbePoint) -> ProbeConfig:
    return probe_config(
        config, size, seed, place.task, place.fraction, place.head, place.subset_seed
    )


def _done(study_state: StudyState) -> int:
    return sum(found.state == "done" for found in study_state.cells.values())


class _Study:
    """One part of a study, from its start or resumption to its end; see ``run_study``."""

    def __init__(
        self, config: StudyConfig, root: Path, data_dir: Path, dataset: Dataset, sink: Sink
    ) -> None:
        self.config, self.root, self.data_dir, self.dataset = config, root, data_dir, dataset
        self.sink = PausableSink(sink)
        self.children = sink
        self.history = History(root, read_only=True)  # the owners of the runs write the index
        self.failed: dict[str, str] = {}
        self.materials: dict[tuple[str, float, int], Material] = {}
        self.done = 0

    def run(self, device: str) -> None:
        """The whole of it."""
        study_state = look(self.config, self.history)
        self.done = _done(study_state)
        self.sink.plan(
            Plan(
                total_steps=len(study_state.cells),
                start_step=self.done,
                device=device,
                facts=self._facts(),
            )
        )
        self._result(study_state)
        while True:
            busy: list[RunFolder] = []
            for size, seed in pretrainings(self.config):
                check_interrupt(self.sink)
                self._encoder(size, seed, busy)
            if not busy:
                break
            self._wait(busy)
        study_state = look(self.config, self.history)
        self._advance(_done(study_state) - self.done)
        self._result(study_state)
        if self.failed:
            id_, sentence = next(iter(self.failed.items()))
            noun = "run" if len(self.failed) == 1 else "runs"
            raise TrainingError(
                f"{len(self.failed)} {noun} of the study failed, {id_} first: {sentence} "
                "Everything else is done; a resume of the study tries again."
            )

    def _facts(self) -> dict[str, Any]:
        test = self.dataset.test
        return {
            "torch": str(torch.__version__),
            "train_images": len(self.dataset.train),
            "test_images": 0 if test is None else len(test),
            "pretrainings": len(pretrainings(self.config)),
            "probes": len(pretrainings(self.config)) * len(probe_points(self.config)),
        }

    def _result(self, study_state: StudyState) -> None:
        self.sink.result(
            {
                "cells": _done(study_state),
                "total": len(study_state.cells),
                "pretrainings": [
                    {"queue_size": size, "seed": seed, "run": trained.run, "state": trained.state}
                    for (size, seed), trained in study_state.pretrainings.items()
                ],
                "failed": dict(self.failed),
                "protocol": list(protocol(self.config)),
            }
        )

    def _advance(self, cells: int) -> None:
        """Report cells that are done now."""
        if cells > 0:
            self.done += cells
            self.sink.metrics(self.done, float(self.done), {"study/cells": float(self.done)})
            self.sink.checkpointed(self.done)

    # ------------------------------------------------------------------------- one encoder

    def _encoder(self, size: int, seed: int, busy: list[RunFolder]) -> None:
        """The pretraining of one queue size and seed and all of its probes, where they are missing.

        What other processes work on is added to ``busy``.
        """
        study_state = look(self.config, self.history)
        self._advance(_done(study_state) - self.done)  # what others have done
        if not self._missing(study_state, size, seed):
            return
        trained = study_state.pretrainings[size, seed]
        name = f"K {size}, seed {seed}"
        if trained.state != "finished":
            config = pretrain_config(self.config, size, seed)
            folder = self._folder(trained.run, "pretrain", config, name=name)
            shared = Shared(self.dataset)
            verb = "resuming" if trained.run else "starting"
            if not self._train(folder, shared, busy, f"{verb} the pretraining with {name}"):
                return
            study_state = look(self.config, self.history)
            self._result(study_state)
        self._probes(study_state, size, seed, name, busy)

    def _missing(
        self, study_state: StudyState, size: int, seed: int
    ) -> dict[ProbePoint, tuple[Cell, ...]]:
        """The probes of an encoder that would give a cell that is not done, with these cells."""
        found = {}
        for place in probe_points(self.config):
            cells = cells_of(self.config, size, seed, place)
            missing = tuple(cell for cell in cells if study_state.cells[cell].state != "done")
            if missing:
                found[place] = missing
        return found

    def _probes(
        self, study_state: StudyState, size: int, seed: int, name: str, busy: list[RunFolder]
    ) -> None:
        missing = self._missing(study_state, size, seed)
        if not missing:
            return
        parent = RunFolder(self.root / study_state.pretrainings[size, seed].run)
        loaded = load_encoder(parent)
        sources = self._sources(loaded, missing)
        ordered = self._in_order(missing)
        for number, place in enumerate(ordered):
            check_interrupt(self.sink)
            if not any(self._needs_views(later.head) for later in ordered[number:]):
                sources.forget_views()
            config = _probe_config(self.config, size, seed, place)
            run = self._unfinished(study_state, missing[place], config)
            wanted = {cell.source for cell in missing[place]}
            config = msgspec.structs.replace(
                config, baselines=tuple(b for b in config.baselines if b in wanted)
            )
            words = (
                f"{place.task}, {100 * place.fraction:g} % of the labels, {place.head}, "
                f"subset {place.subset_seed}"
            )
            folder = self._folder(run, "probe", config, name=f"{words}; {name}", parent=parent.id)
            shared = Shared(self.dataset, loaded, sources, self._material(place))
            if self._train(folder, shared, busy, ""):
                self.sink.log(f"{name}: {words}: {_tops(folder)}")
                self._advance(len(missing[place]))

    def _sources(
        self, loaded: LoadedEncoder, needed: Mapping[ProbePoint, Any]
    ) -> FeaturesForManyProbes:
        """What the probes of an encoder share."""
        rows = torch.unique(torch.cat([self._material(place).rows for place in needed]))
        device = resolve_runtime(self.config.probe.runtime).device
        made = FeaturesForOneProbe(
            loaded.encoder, loaded.config.model, self.dataset, loaded.mean, loaded.std, device
        )
        views = max(
            head_settings(self.config.probe, place.head).views_per_image() for place in needed
        )
        return FeaturesForManyProbes(made, rows, views)

    def _needs_views(self, head: str) -> bool:
        return head_settings(self.config.probe, head).views_per_image() > 0

    def _material(self, place: ProbePoint) -> Material:
        """The labelled images of a probe: the same for every encoder and head."""
        key = (place.task, place.fraction, place.subset_seed)
        if key not in self.materials:
            config = _probe_config(self.config, *pretrainings(self.config)[0], place)
            self.materials[key] = prepare_material(config, self.dataset)
        return self.materials[key]

    def _in_order(self, needed: Mapping[ProbePoint, Any]) -> list[ProbePoint]:
        """Tasks on the same labelled images after each other: they share what follows from them."""
        config = self.config
        seen: dict[bytes, int] = {}

        def key(place: ProbePoint) -> tuple[int, int, int, int]:
            rows = self._material(place).rows
            number = seen.setdefault(rows.numpy().tobytes(), len(seen))
            subset = config.subset_seeds.index(place.subset_seed)
            fraction = config.label_fractions.index(place.fraction)
            return config.heads.index(place.head), subset, fraction, number

        return sorted(needed, key=key)

    # -------------------------------------------------------------------------- one run

    def _unfinished(
        self, study_state: StudyState, missing: tuple[Cell, ...], config: ProbeConfig
    ) -> str:
        """The probe that was begun for these cells and can be gone on with, or empty."""
        wanted = row_key(plain(config), "moco")
        for cell in missing:
            run = study_state.cells[cell].run
            if not run:
                continue
            record = RunFolder(self.root / run).record()
            if record.kind != "probe" or record.status == "finished":
                continue
            begun = msgspec.convert(record.config, ProbeConfig, strict=False)
            same = row_key(plain(begun), "moco") == wanted
            if same and set(begun.baselines) <= set(config.baselines):
                return run
        return ""

    def _folder(
        self,
        run: str,
        kind: str,
        config: PretrainConfig | ProbeConfig,
        *,
        name: str,
        parent: str = "",
    ) -> RunFolder:
        """The run to go on with, or a new one."""
        if run:
            return RunFolder(self.root / run)
        return create(self.root, kind, config, name=name, parent=parent)

    def _train(
        self, folder: RunFolder, shared: Shared, busy: list[RunFolder], announcement: str
    ) -> bool:
        """Trains a run of the study; True when it is finished.

        Raises:
            Interrupted: the study, or this run itself, was asked to stop.
            RunError: the run waits for its turn in a process that may be waiting for this one.
        """
        if folder.id in self.failed:
            return False
        if folder.alive():
            if folder.record().status == "queued":
                raise RunError(
                    f"Run {folder.id}, which the study needs, waits for its turn in another "
                    "process; start it there or take it out of the queue, and resume the study."
                )
            busy.append(folder)
            return False
        if announcement:
            self.sink.log(f"{announcement}: run {folder.id}")
        child = NestedSink(self.children, folder.title(), self.done)
        try:
            outcome = execute(folder, data_dir=self.data_dir, sink=child, shared=shared)
        except RunBusyError:
            busy.append(folder)
            return False
        except TrainingError as error:
            self.failed[folder.id] = str(error)
            self.sink.log(f"run {folder.id} failed: {error}")
            return False
        finally:
            if shared.parent is None:  # a pretraining: what it left in cycles holds memory
                gc.collect()
                torch.cuda.empty_cache()
        if outcome != "finished":
            if child.asked is None:
                self.sink.log(f"run {folder.id} was stopped: the study stops with it")
            raise Interrupted(child.asked or "stop")
        return True

    def _wait(self, busy: list[RunFolder]) -> None:
        """Returns when a run of another process has ended."""
        names = ", ".join(folder.id for folder in busy)
        self.sink.log(f"waiting for what other processes work on: {names}")
        stage = f"waiting for {names}"
        self.sink.progress(stage, 0, 1)
        while all(folder.alive() for folder in busy):
            check_interrupt(self.sink)
            time.sleep(_LOOK)
        self.sink.progress(stage, 1, 1)


def _tops(folder: RunFolder) -> str:
    """The accuracies of a finished probe in words."""
    last = folder.record().last
    tops = {
        name.split("/")[1]: value for name, value in last.items() if name.endswith("/test_top1")
    }
    return ", ".join(f"{source} {top:.1f} %" for source, top in tops.items())
