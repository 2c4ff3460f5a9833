"""The dry run of a study: what is left of it, and about how much time and disk that takes here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from engine.config.schema import StudyConfig, head_settings
from engine.data.dataset import Dataset
from engine.evaluate.tasks import Material, prepare_material
from engine.jobs.estimate import estimate, trained_epochs
from engine.jobs.prepare import prepare
from engine.jobs.study_rates import ProbeRates, measure_rates
from engine.jobs.trained_encoder import build_encoder_quietly
from engine.probe.augmented_views import affordable_views
from engine.probe.supervised_budget import plan_budget
from engine.sink import NullSink, Sink
from engine.study.grid import Cell, ProbePoint, pretrain_config, probe_config
from engine.study.study_state import StudyState, Trained

_METRIC_BYTES = 130  # about, of a step in the metric log
_PROBE_BYTES = 24 * 1024  # about, of record, metrics and log of a probe
_PIXELS = 3 * 32 * 32  # values of an image

Materials = Mapping[tuple[str, float], Material]
"""The labelled and test images of a study's probes, by task and label fraction."""


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
        sink: logs what is measured, and is asked whether to stop.

    Raises:
        UserError: what the pretrainings and probes would refuse.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    prepared = prepare(config.pretrain, root=Path(), parent="", data_dir=data_dir, sink=sink)
    dataset = prepared.dataset
    materials = _materials(config, dataset)
    cells = [cell for cell, found in study_state.cells.items() if found.state != "done"]
    unfinished = {
        at: trained
        for at, trained in study_state.pretrainings.items()
        if trained.state != "finished"
    }
    costs: list[Cost] = []
    disk_bytes = 0
    if unfinished:
        sink.log("timing a few steps of pretraining")
        seconds, disk_bytes = _pretraining(config, unfinished, data_dir)
        costs.append(Cost("pretrainings, without kNN", len(unfinished), seconds))
    if cells:
        task = max(materials.values(), key=lambda material: len(material.task.groups)).task.name
        rates = measure_rates(config, dataset, task, sink)
        costs += [
            _knn(config, len(unfinished), len(dataset.train), rates),
            *_features(config, cells, dataset, rates),
            *_heads(config, cells, materials, rates),
            _from_scratch(config, cells, materials, rates),
        ]
        disk_bytes += _PROBE_BYTES * sum(cell.source == "moco" for cell in cells)
    costs = [cost for cost in costs if cost.count]
    seconds = sum(cost.seconds for cost in costs)
    return StudyPlan(tuple(costs), seconds, disk_bytes, prepared.runtime.name)


def _materials(config: StudyConfig, dataset: Dataset) -> Materials:
    """Of one subset seed and head: their numbers of images are the same for all."""
    found = {}
    for task in config.tasks:
        for fraction in config.label_fractions:
            point = ProbePoint(task, fraction, config.heads[0], config.subset_seeds[0])
            probe = probe_config(config, config.queue_sizes[0], config.seeds[0], point)
            found[task, fraction] = prepare_material(probe, dataset)
    return found


# --------------------------------------------------------------------------------------------
# Pretraining


def _pretraining(
    config: StudyConfig, unfinished: Mapping[tuple[int, int], Trained], data_dir: Path
) -> tuple[float, int]:
    """Seconds and bytes of the pretrainings that are not finished, by queue size and seed."""
    encoder = build_encoder_quietly(config.pretrain.model)
    parameters = sum(p.numel() for p in encoder.parameters())
    seconds, disk_bytes = 0.0, 0
    for size in config.queue_sizes:
        of_size = [trained for (k, _), trained in unfinished.items() if k == size]
        if not of_size:
            continue
        measured = estimate(pretrain_config(config, size, config.seeds[0]), data_dir=data_dir)
        steps = measured["steps_per_epoch"] * trained_epochs(config.pretrain)
        for trained in of_size:
            seconds += measured["seconds_per_step"] * max(steps - trained.step, 0)
            if not trained.run:  # float32: both encoders, the momentum of SGD, and the queue
                disk_bytes += 4 * (3 * parameters + size * config.pretrain.model.dim)
                disk_bytes += _METRIC_BYTES * steps
    return seconds, disk_bytes


def _knn(config: StudyConfig, pretrainings: int, images: int, rates: ProbeRates) -> Cost:
    every = config.pretrain.monitor.knn_every
    # One more than in the epochs: that of the untrained encoder.
    passes = pretrainings * (trained_epochs(config.pretrain) // every + 1) if every else 0
    return Cost("kNN evaluations", passes, passes * images * rates.feature)


# --------------------------------------------------------------------------------------------
# Probes


def _features(
    config: StudyConfig, cells: Iterable[Cell], dataset: Dataset, rates: ProbeRates
) -> list[Cost]:
    """The passes of each encoder over the images, and over their augmented views."""
    train, test = len(dataset.train), len(dataset.test or ())
    # Expected number of images in at least one of the subsets, whose seeds are independent; of one
    # seed, the largest fraction holds all others.
    largest = max(config.label_fractions)
    union = train * (1.0 - (1.0 - largest) ** len(config.subset_seeds))
    of_encoders = [cell for cell in cells if cell.source in ("moco", "random-init")]
    encoders = {(c.source, c.queue_size, c.seed) for c in of_encoders}
    views = {head: head_settings(config.probe, head).views_per_image() for head in config.heads}
    viewed = {(c.source, c.queue_size, c.seed) for c in of_encoders if views[c.head]}
    passes = len(viewed) * max(views.values())
    return [
        Cost("feature passes", len(encoders), len(encoders) * (union + test) * rates.feature),
        Cost("passes over augmented views", passes, passes * union * rates.view.get(False, 0.0)),
    ]


def _heads(
    config: StudyConfig, cells: Sequence[Cell], materials: Materials, rates: ProbeRates
) -> list[Cost]:
    """The heads that are left, one cost for each kind."""
    costs = []
    for head in config.heads:
        settings = head_settings(config.probe, head)
        count, seconds = 0, 0.0
        for cell in cells:
            if cell.head != head:
                continue
            of_pixels = cell.source == "pixels"
            labels = len(materials[cell.task, cell.fraction].rows)
            count += 1
            seconds += labels * rates.heads.get((head, of_pixels), 0.0) * settings.passes()
            if of_pixels and settings.views_per_image():
                views = affordable_views(settings.views_per_image(), labels, _PIXELS)
                seconds += labels * views * rates.view.get(True, 0.0)
        costs.append(Cost(f"{head} heads", count, seconds))
    return costs


def _from_scratch(
    config: StudyConfig, cells: Iterable[Cell], materials: Materials, rates: ProbeRates
) -> Cost:
    count, seconds = 0, 0.0
    for cell in cells:
        if not cell.head:
            material = materials[cell.task, cell.fraction]
            budget = plan_budget(
                config.probe.supervised,
                len(material.rows),
                len(material.fit),
                len(material.validate),
            )
            count += 1
            seconds += budget.all_images * rates.supervised
    return Cost("trainings from scratch", count, seconds)
