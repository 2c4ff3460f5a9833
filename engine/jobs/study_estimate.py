"""The dry run of a study: what is left of it, and about how much time and disk that takes here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from engine.config.heads.finetune import FinetuneConfig
from engine.config.pretraining_key import key_text, plain
from engine.config.schedule import trained_epochs
from engine.config.schema import StudyConfig, head_settings
from engine.config.variants import Variant
from engine.data.dataset import Dataset
from engine.evaluate.tasks import Material, prepare_material
from engine.jobs.estimate import estimate, knn_passes
from engine.jobs.prepare import prepare
from engine.jobs.run_estimate import METRIC_BYTES
from engine.jobs.study_checks import check_variants
from engine.jobs.study_rates import ProbeRates, measure_feature, measure_rates
from engine.jobs.study_shares import shares_of, with_share
from engine.jobs.trained_encoder import build_encoder_quietly
from engine.pretrain.online_probe import numbers_kept
from engine.probe.augmented_views import affordable_views
from engine.probe.supervised import LOOKS
from engine.probe.supervised_budget import Budget, plan_budget, plan_finetuning
from engine.probe.supervised_training import STATISTICS_IMAGES
from engine.runs.kept_checkpoints import checkpoints_at_end
from engine.sink import NullSink, Sink, check_interrupt
from engine.study.grid import Cell, ProbePoint, pretrain_config, probe_config, variants
from engine.study.sought import Place
from engine.study.study_state import StudyState, Trained

_PROBE_BYTES = 24 * 1024  # about, of record, metrics and log of a probe

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
        workers: how many share the work; no more than there are units of it.
        wall_seconds: about how long that takes: the units (a pretraining with its probes) cost the
            same, and each worker takes one after the other.
    """

    costs: tuple[Cost, ...]
    seconds: float
    disk_bytes: int
    device: str
    workers: int = 1
    wall_seconds: float = 0.0


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
    shares = shares_of(config)
    workers = len(shares)
    # Measured with the threads of one worker, and nobody beside it: a little too fast.
    config = with_share(config, shares[0])
    datasets, device = _datasets(config, data_dir, sink)
    check_variants(config, datasets)
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
        seconds, disk_bytes = _pretraining(config, unfinished, datasets, data_dir, sink)
        costs.append(Cost("pretrainings, without kNN", len(unfinished), seconds))
    if cells:
        for alike in _alike(config):
            costs += _judging(config, alike, cells, unfinished, datasets[alike[0].data], sink)
        disk_bytes += _PROBE_BYTES * (
            sum(cell.source == "moco" for cell in cells) if config.judge == "probes" else 0
        )
    costs = [cost for cost in _summed(costs) if cost.count]
    seconds = sum(cost.seconds for cost in costs)
    left = set(unfinished) | {(cell.variant, cell.seed) for cell in cells if cell.source == "moco"}
    workers = max(1, min(workers, len(left)))
    rounds = math.ceil(len(left) / workers) if left else 0
    wall = seconds * rounds / len(left) if workers > 1 else seconds
    return StudyPlan(tuple(costs), seconds, disk_bytes, device, workers, wall)


def _datasets(config: StudyConfig, data_dir: Path, sink: Sink) -> tuple[dict[str, Dataset], str]:
    """The images of the variants by ``Variant.data``, and the name of the device."""
    found: dict[str, Dataset] = {}
    device = ""
    for variant in variants(config):
        if variant.data not in found:
            # Its batch is checked by ``check_variants``, which names the variant.
            pretrain = replace(
                pretrain_config(config, variant, config.seeds[0]),
                optim=replace(config.pretrain.optim, batch_size=2),
                model=replace(config.pretrain.model, bn_splits=1),
            )
            prepared = prepare(pretrain, root=Path(), parent="", data_dir=data_dir, sink=sink)
            found[variant.data], device = prepared.dataset, prepared.runtime.name
    return found, device


def _alike(config: StudyConfig) -> list[list[Variant]]:
    """The variants by what their probes cost: those of one architecture and the same images."""
    found: dict[tuple[str, str], list[Variant]] = {}
    for variant in variants(config):
        model = pretrain_config(config, variant, config.seeds[0]).model
        found.setdefault((key_text(msgspec.to_builtins(model)), variant.data), []).append(variant)
    return list(found.values())


def _judging(
    config: StudyConfig,
    alike: Sequence[Variant],
    cells: Sequence[Cell],
    unfinished: Collection[Place],
    dataset: Dataset,
    sink: Sink,
) -> list[Cost]:
    """What the probes or the kNN of some variants cost that are alike."""
    first, labels = alike[0], {variant.label for variant in alike}
    # A baseline is computed beside the first variant that has it.
    beside = {(name, v.groups[name] or None) for v in alike for name in v.beside}
    own = [
        cell
        for cell in cells
        if (
            cell.variant in labels
            if cell.source == "moco"
            else (cell.source, cell.variant) in beside
        )
    ]
    if not own:
        return []
    known = len(dataset.train.labelled_rows)
    if config.judge == "knn":
        feature = measure_feature(config, first, dataset, sink)
        return [_knn(config, alike, unfinished, known, feature)]
    materials = _materials(config, first, dataset)
    task = max(materials.values(), key=lambda material: len(material.task.groups)).task.name
    rates = measure_rates(config, first, dataset, task, sink)
    return [
        _knn(config, alike, unfinished, known, rates.feature),
        *_features(config, own, dataset, rates),
        *_heads(config, own, materials, rates, dataset.train.images[0].numel()),
        _from_scratch(config, own, materials, rates),
    ]


def _summed(costs: Iterable[Cost]) -> list[Cost]:
    """One cost for each part, in the order in which the parts come first."""
    found: dict[str, Cost] = {}
    for cost in costs:
        so_far = found.get(cost.part, Cost(cost.part, 0, 0.0))
        found[cost.part] = Cost(cost.part, so_far.count + cost.count, so_far.seconds + cost.seconds)
    return list(found.values())


def _materials(config: StudyConfig, variant: Variant, dataset: Dataset) -> Materials:
    """Of one subset seed and head: their numbers of images are the same for all."""
    found = {}
    for task in config.tasks:
        for fraction in config.label_fractions:
            point = ProbePoint(task, fraction, config.heads[0], config.subset_seeds[0])
            probe = probe_config(config, variant, config.seeds[0], point)
            found[task, fraction] = prepare_material(probe, dataset)
    return found


# --------------------------------------------------------------------------------------------
# Pretraining

_FREE_OF_TIME = (
    "moco.momentum",
    "moco.temperature",
    "optim.lr",
    "optim.warmup_epochs",
    "optim.sgd_momentum",
    "optim.weight_decay",
    "optim.schedule",
    "optim.milestones",
    "optim.drop_factor",
    "optim.epochs",
    "optim.stop_epoch",
)
"""Settings that leave the time of a step as it is: variants of them are measured once."""


_MOST_MEASURED = 32
"""Variants whose steps are timed; more cost about what the median of these costs."""


def _median(measured: Iterable[tuple[float, int]]) -> tuple[float, int]:
    seconds, steps = zip(*measured, strict=True)
    return statistics.median(seconds), statistics.median_low(steps)


def _pretraining(
    config: StudyConfig,
    unfinished: Mapping[Place, Trained],
    datasets: Mapping[str, Dataset],
    data_dir: Path,
    sink: Sink,
) -> tuple[float, int]:
    """Seconds and bytes of the pretrainings that are not finished, by variant and seed."""
    seconds, disk_bytes = 0.0, 0
    steps_of: dict[str, tuple[float, int]] = {}  # seconds of a step, and steps of an epoch
    for variant in variants(config):
        of_variant = [
            trained for (label, _), trained in unfinished.items() if label == variant.label
        ]
        if not of_variant:
            continue
        pretrain = pretrain_config(config, variant, config.seeds[0])
        key = key_text({k: v for k, v in plain(pretrain).items() if k not in _FREE_OF_TIME})
        if key not in steps_of and len(steps_of) < _MOST_MEASURED:
            check_interrupt(sink)
            measured = estimate(pretrain, data_dir=data_dir)
            steps_of[key] = measured["seconds_per_step"], measured["steps_per_epoch"]
            if measured["fused_later"]:
                sink.log("its steps will be computed by kernels and take less than is said here")
        step, per_epoch = steps_of.get(key) or _median(steps_of.values())
        epochs = trained_epochs(pretrain.optim)
        steps, kept = per_epoch * epochs, checkpoints_at_end(pretrain, epochs)
        encoder = build_encoder_quietly(pretrain.model, pretrain.data.size)
        parameters = sum(p.numel() for p in encoder.parameters())
        online = numbers_kept(
            pretrain.monitor.online_probe, datasets[variant.data], encoder.feature_dim
        )
        for trained in of_variant:
            seconds += step * max(steps - trained.step, 0)
            if not trained.run:  # float32: both encoders, the momentum of SGD, and the queue
                numbers = 3 * parameters + variant.queue_size * pretrain.model.dim + online
                disk_bytes += kept * 4 * numbers
                disk_bytes += METRIC_BYTES * steps
    return seconds, disk_bytes


def _knn(
    config: StudyConfig,
    alike: Sequence[Variant],
    unfinished: Collection[Place],
    images: int,
    feature: float,
) -> Cost:
    passes = 0
    for variant in alike:
        to_train = sum(label == variant.label for label, _ in unfinished)
        passes += to_train * knn_passes(pretrain_config(config, variant, config.seeds[0]))
    return Cost("kNN evaluations", passes, passes * images * feature)


# --------------------------------------------------------------------------------------------
# Probes


def _features(
    config: StudyConfig, cells: Iterable[Cell], dataset: Dataset, rates: ProbeRates
) -> list[Cost]:
    """The passes of each encoder over the images, and over their augmented views."""
    train, test = len(dataset.train.labelled_rows), len(dataset.test or ())
    # Expected number of images in at least one of the subsets, whose seeds are independent; of one
    # seed, the largest fraction holds all others.
    largest = max(config.label_fractions)
    union = train * (1.0 - (1.0 - largest) ** len(config.subset_seeds))
    of_encoders = [cell for cell in cells if cell.source in ("moco", "random-init")]
    encoders = {(c.source, c.variant, c.seed) for c in of_encoders}
    views = {head: head_settings(config.probe, head).views_per_image() for head in config.heads}
    viewed = {(c.source, c.variant, c.seed) for c in of_encoders if views[c.head]}
    passes = len(viewed) * max(views.values())
    return [
        Cost("feature passes", len(encoders), len(encoders) * (union + test) * rates.feature),
        Cost("passes over augmented views", passes, passes * union * rates.view.get(False, 0.0)),
    ]


def _heads(
    config: StudyConfig,
    cells: Sequence[Cell],
    materials: Materials,
    rates: ProbeRates,
    pixels: int,
) -> list[Cost]:
    """The heads that are left, one cost for each kind; ``pixels``: values of an image."""
    costs = []
    for head in config.heads:
        settings = head_settings(config.probe, head)
        count, seconds = 0, 0.0
        for cell in cells:
            if cell.head != head:
                continue
            of_pixels = cell.source == "pixels"
            material = materials[cell.task, cell.fraction]
            labels = len(material.rows)
            count += 1
            if settings.trains_encoder and not of_pixels:
                seconds += _finetuning(config, material, rates)
            seconds += labels * rates.heads.get((head, of_pixels), 0.0) * settings.passes()
            if of_pixels and settings.views_per_image():
                views = affordable_views(settings.views_per_image(), labels, pixels)
                seconds += labels * views * rates.view.get(True, 0.0)
        costs.append(Cost(f"{head} heads", count, seconds))
    return costs


def _finetuning(config: StudyConfig, material: Material, rates: ProbeRates) -> float:
    """Seconds of the trainings of a fine-tuned encoder, and of its passes over other images."""
    settings = head_settings(config.probe, "finetune")
    assert isinstance(settings, FinetuneConfig)  # the sections have the types of the registry
    fit, validate = len(material.fit), len(material.validate)
    budget = plan_finetuning(config.probe.supervised, settings, len(material.rows), fit, validate)
    passed = _looks(budget) * (min(fit, STATISTICS_IMAGES) + validate)
    if budget.epochs:
        passed += len(material.test_rows) + min(len(material.rows), STATISTICS_IMAGES)
    return budget.all_images * rates.supervised + passed * rates.feature


def _looks(budget: Budget) -> int:
    """How often the trials set the statistics and classify the held-out images."""
    trials = budget.rates * min(budget.selection_epochs, LOOKS)
    return trials + min(budget.check_epochs, LOOKS)


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
            passed = _looks(budget) * (min(len(material.fit), STATISTICS_IMAGES))
            passed += _looks(budget) * len(material.validate) + len(material.test_rows)
            seconds += budget.all_images * rates.supervised + passed * rates.feature
    return Cost("trainings from scratch", count, seconds)
