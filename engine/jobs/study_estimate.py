"""The dry run of a study: what is left of it, and about how much time and disk that takes here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from msgspec.structs import replace

from engine.config.heads import HEADS
from engine.config.schema import ProbeConfig, StudyConfig, head_settings
from engine.data.dataset import Dataset, channel_statistics, limited
from engine.evaluate.features import extract
from engine.evaluate.tasks import Material, prepare_material
from engine.jobs.estimate import estimate
from engine.jobs.execute import build_encoder_quietly, prepare
from engine.probe.augmented_views import affordable_views
from engine.probe.probe_run import run_probe
from engine.probe.supervised_budget import plan_budget
from engine.runtime.device import resolve_runtime
from engine.sink import NullSink, Request, Sink
from engine.study.grid import Cell, StudyState, pretrain_config, probe_config

_IMAGES = 600
_TESTS = 300
_EPOCHS = 20
_METRIC_BYTES = 130  # a step in the metric log
_ENCODERS = ("moco", "random-init")
_PROBE_BYTES = 24 * 1024  # record, metrics and log of a probe


class Cost(Struct, frozen=True):
    """A part of what is left.

    Attributes:
        part: what it is.
        count: how many pretrainings, passes or cells.
        seconds: about how long they take together, one after the other.
    """

    part: str
    count: int
    seconds: float


class StudyPlan(Struct, frozen=True):
    """What is left of a study.

    Attributes:
        costs: by part; parts of which nothing is left are left out.
        seconds: of all of them.
        disk_bytes: what the runs that are still missing will take.
        device: where it was measured.
    """

    costs: tuple[Cost, ...]
    seconds: float
    disk_bytes: int
    device: str


class _Asked(NullSink):
    """Hears nothing of a small probe, but asks what another sink asks.

    Args:
        sink: the other.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def request(self) -> Request | None:
        """See ``Sink.request``."""
        return self._sink.request()


class _Rates(Struct, frozen=True):
    """Measured seconds, each for one image (or label).

    Attributes:
        feature: a pass of an encoder.
        view: an augmented view and its pass.
        heads: by head and whether the features are pixels: of one of its passes.
        supervised: an image seen by the training from scratch.
    """

    feature: float
    view: dict[bool, float]
    heads: dict[tuple[str, bool], float]
    supervised: float


def plan(
    config: StudyConfig, study_state: StudyState, *, data_dir: Path, sink: Sink | None = None
) -> StudyPlan:
    """Times a few steps and a few small probes, and scales them to what is left.

    The probes are of 600 images: head and baseline seconds grow with the labels in proportion,
    which is right to about a factor of two. It trains for real and sets the thread count: call it
    in a process of its own.

    Args:
        config: the study.
        study_state: how far it is.
        data_dir: where data sets and their caches live.
        sink: hears what is measured, and is asked whether to stop.

    Raises:
        UserError: what the pretrainings and probes would refuse.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    prepared = prepare(config.pretrain, root=Path(), parent="", data_dir=data_dir, sink=sink)
    dataset = prepared.dataset
    materials = {
        (task, fraction): prepare_material(_probe(config, task, fraction), dataset)
        for task in config.tasks
        for fraction in config.label_fractions
    }
    left = [cell for cell, found in study_state.cells.items() if found.state != "done"]
    costs = []
    disk = 0
    unfinished = {
        at: trained
        for at, trained in study_state.pretrainings.items()
        if trained.state != "finished"
    }
    if unfinished:
        sink.log("timing a few steps of pretraining")
        seconds, disk = _pretraining(config, study_state, data_dir)
        costs.append(Cost("pretrainings, without kNN", len(unfinished), seconds))
    if left:
        rates = _measure(config, dataset, materials, sink)
        if unfinished:
            costs.append(_knn(config, study_state, len(dataset.train), rates))
        costs += _probing(config, left, dataset, materials, rates)
        disk += _PROBE_BYTES * sum(cell.source == "moco" for cell in left)
    costs = [cost for cost in costs if cost.count]
    return StudyPlan(tuple(costs), sum(c.seconds for c in costs), disk, prepared.runtime.name)


def _probe(config: StudyConfig, task: str, fraction: float, head: str | None = None) -> ProbeConfig:
    return probe_config(
        config,
        config.queue_sizes[0],
        config.seeds[0],
        task,
        fraction,
        head or config.heads[0],
        config.subset_seeds[0],
    )


# --------------------------------------------------------------------------------------------
# Pretraining


def _epochs(config: StudyConfig) -> int:
    return config.pretrain.optim.stop_epoch or config.pretrain.optim.epochs


def _pretraining(config: StudyConfig, study_state: StudyState, data_dir: Path) -> tuple[float, int]:
    """Seconds and bytes of the pretrainings that are not finished."""
    encoder = build_encoder_quietly(config.pretrain.model)
    numbers = sum(p.numel() for p in encoder.parameters())
    seconds, disk = 0.0, 0
    for size in config.queue_sizes:
        at = [(k, seed) for k, seed in study_state.pretrainings if k == size]
        open_ = [a for a in at if study_state.pretrainings[a].state != "finished"]
        if not open_:
            continue
        measured = estimate(pretrain_config(config, size, config.seeds[0]), data_dir=data_dir)
        steps = measured["steps_per_epoch"] * _epochs(config)
        for key in open_:
            trained = study_state.pretrainings[key]
            seconds += measured["seconds_per_step"] * max(steps - trained.step, 0)
            if not trained.run:  # both encoders, the momentum of SGD, and the queue
                disk += 4 * (3 * numbers + size * config.pretrain.model.dim)
                disk += _METRIC_BYTES * steps
    return seconds, disk


def _knn(config: StudyConfig, study_state: StudyState, images: int, rates: _Rates) -> Cost:
    every = config.pretrain.monitor.knn_every
    open_ = sum(trained.state != "finished" for trained in study_state.pretrainings.values())
    passes = open_ * (_epochs(config) // every + 1) if every else 0
    return Cost("kNN evaluations", passes, passes * images * rates.feature)


# --------------------------------------------------------------------------------------------
# Probes


def _measure(
    config: StudyConfig,
    dataset: Dataset,
    materials: Mapping[tuple[str, float], Material],
    sink: Sink,
) -> _Rates:
    """Times small probes of an untrained encoder, with all baselines that the study has."""
    sink.log(f"timing small probes of {_IMAGES} images")
    sink = _Asked(sink)
    assert dataset.test is not None
    task = max(materials.values(), key=lambda material: len(material.task.groups)).task.name
    small = Dataset(
        dataset.name,
        dataset.train.take(limited(dataset.train.labels, min(_IMAGES, len(dataset.train)))),
        dataset.test.take(limited(dataset.test.labels, min(_TESTS, len(dataset.test)))),
        dataset.class_names,
    )
    runtime = resolve_runtime(config.probe.runtime, recorded={})
    device, model = runtime.device, config.pretrain.model
    encoder = build_encoder_quietly(model).eval().to(device)
    mean, std = channel_statistics(small.train.images)
    images = small.train.images

    def one_pass() -> float:
        began = time.perf_counter()
        extract(encoder, images, mean=mean, std=std, device=device, what="backbone", sink=sink)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    one_pass()  # warms up
    feature = min(one_pass(), one_pass()) / len(images)

    def rows(head: str, passes: int = 1, *, supervised: bool = False) -> dict[str, Any]:
        base = _probe(config, task, 1.0, head)
        with_pixels = ("pixels",) if "pixels" in config.baselines else ()
        probe = replace(
            base,
            baselines=(*with_pixels, "supervised") if supervised else with_pixels,
            supervised=replace(base.supervised, epochs=1, lr=base.supervised.lr[:1]),
        )
        if head in HEADS:
            probe = replace(probe, **{head: head_settings(base).with_passes(passes)})
        result = run_probe(
            probe,
            dataset=small,
            pretrained=encoder,
            model=model,
            mean=mean,
            std=std,
            device=device,
            sink=sink,
        )
        return {row["source"]: row for row in result["rows"]}

    n, passed = len(images), feature * (len(images) + len(small.test or ()))
    heads: dict[tuple[str, bool], float] = {}
    view: dict[bool, float] = {}
    scratch = 0.0
    for head in config.heads:
        want = head == config.heads[0] and "supervised" in config.baselines
        found = rows(head, supervised=want)
        if want:
            row = found.pop("supervised")
            test = feature * len(small.test or ())
            scratch = max(row["seconds"] - test, 0.0) / max(row["budget"]["images"], 1)
        settings = head_settings(config.probe, head)
        repeats = settings.with_passes(1) != settings.with_passes(2)
        more = rows(head, 1 + _EPOCHS) if repeats else {}
        for source, row in found.items():
            of_pixels = source == "pixels"
            rest = max(row["seconds"] - (0.0 if of_pixels else passed), 0.0)
            if not more:
                heads[head, of_pixels] = rest / n
                continue
            one = max(more[source]["seconds"] - row["seconds"], 0.0) / _EPOCHS
            heads[head, of_pixels] = one / n
            if settings.views_per_image():
                view[of_pixels] = max(rest - one, 0.0) / n
    return _Rates(feature, view, heads, scratch)


def _probing(
    config: StudyConfig,
    left: list[Cell],
    dataset: Dataset,
    materials: Mapping[tuple[str, float], Material],
    rates: _Rates,
) -> list[Cost]:
    """The feature passes, the heads and the training from scratch that are left."""
    train, test = len(dataset.train), len(dataset.test or ())
    # images that belong to at least one of the independent subsets
    largest = max(config.label_fractions)
    union = train * (1.0 - (1.0 - largest) ** len(config.subset_seeds))
    settings = {head: head_settings(config.probe, head) for head in config.heads}
    views = max(of_head.views_per_image() for of_head in settings.values())
    encoders = {(c.source, c.queue_size, c.seed) for c in left if c.source in _ENCODERS}
    viewed = {
        (c.source, c.queue_size, c.seed)
        for c in left
        if c.source in _ENCODERS and settings[c.head].views_per_image()
    }
    costs = [
        Cost("feature passes", len(encoders), len(encoders) * (union + test) * rates.feature),
        Cost(
            "passes over augmented views",
            len(viewed) * views,
            len(viewed) * views * union * rates.view.get(False, 0.0),
        ),
    ]
    counts = dict.fromkeys(config.heads, 0)
    seconds = dict.fromkeys(config.heads, 0.0)
    supervised, scratch = 0, 0.0
    for cell in left:
        material = materials[cell.task, cell.fraction]
        labels = len(material.rows)
        if not cell.head:  # trained from scratch
            budget = plan_budget(
                config.probe.supervised, labels, len(material.fit), len(material.validate)
            )
            supervised += 1
            scratch += (budget.images + budget.selection_images) * rates.supervised
            continue
        of_head, of_pixels = settings[cell.head], cell.source == "pixels"
        per_label = rates.heads.get((cell.head, of_pixels), 0.0)
        counts[cell.head] += 1
        seconds[cell.head] += labels * per_label * of_head.passes()
        if of_pixels and of_head.views_per_image():
            made = affordable_views(of_head.views_per_image(), labels, 3 * 32 * 32)
            seconds[cell.head] += labels * made * rates.view.get(True, 0.0)
    costs += [Cost(f"{head} heads", counts[head], seconds[head]) for head in config.heads]
    return [*costs, Cost("trainings from scratch", supervised, scratch)]
