"""What the parts of a study cost here: small probes of an untrained encoder, timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from torch import Tensor

from engine.config.heads import HEADS
from engine.config.schema import ModelConfig, ProbeConfig, StudyConfig, head_settings
from engine.config.variants import Variant
from engine.data.dataset import Dataset, Split, channel_statistics, limited
from engine.evaluate.features import extract
from engine.jobs.estimate import seconds_of
from engine.jobs.trained_encoder import build_encoder_quietly
from engine.models.encoder import Encoder
from engine.probe.probe_run import run_probe
from engine.runtime.device import Runtime, resolve_runtime
from engine.sink import NullSink, Request, Sink
from engine.study.grid import ProbePoint, pretrain_config, probe_config

SMALL_TRAIN_IMAGES = 600
_TEST_IMAGES = 300
_PASSES = 20  # of a head that makes several: with one, the set-up would dominate the time


class ProbeRates(Struct, frozen=True):
    """Measured seconds, each for one image (or label).

    Attributes:
        feature: a pass of an encoder.
        view: an augmented view and its pass, by whether the features are pixels.
        heads: by head and whether the features are pixels: of one of its passes.
        supervised: an image seen by a training of the net, from scratch or fine-tuned.
    """

    feature: float
    view: dict[bool, float]
    heads: dict[tuple[str, bool], float]
    supervised: float


class _RequestsOnly(NullSink):
    """Drops all reports of a small probe, and has the requests of another sink.

    Args:
        sink: the other.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def request(self) -> Request | None:
        """See ``Sink.request``."""
        return self._sink.request()


@dataclass(frozen=True)
class _SmallProbes:
    """Probes of an untrained encoder on a few images, with the heads of a study.

    Attributes:
        config: the study.
        variant: whose probes these are.
        model: its architecture.
        task: with the most groups of those that the study has.
        dataset: a few of its images.
        encoder: in eval mode, on the device.
        mean, std: float32 ``(3,)``, of the channels in [0, 1].
        runtime: where to compute, and with which kernels.
        sink: asked whether to stop.
    """

    config: StudyConfig
    variant: Variant
    model: ModelConfig
    task: str
    dataset: Dataset
    encoder: Encoder
    mean: Tensor
    std: Tensor
    runtime: Runtime
    sink: Sink

    @property
    def train_images(self) -> int:
        return len(self.dataset.train)

    @property
    def test_images(self) -> int:
        return len(self.dataset.test or ())

    def feature_seconds(self) -> float:
        """Of an image in a pass of the encoder: the better of two passes."""
        self._pass()  # warms up
        first, second = (seconds_of(self._pass, self.runtime.device) for _ in range(2))
        return min(first, second) / self.train_images

    def _pass(self) -> None:
        extract(
            self.encoder,
            self.dataset.train.images,
            mean=self.mean,
            std=self.std,
            device=self.runtime.device,
            what="backbone",
            sink=self.sink,
            kernels=self.runtime.kernels,
        )

    def rows(self, head: str, *, passes: int = 1, supervised: bool = False) -> dict[str, Any]:
        """The rows of a probe with one view and one learning rate from scratch, by source."""
        result = run_probe(
            self._probe_config(head, passes, supervised=supervised),
            dataset=self.dataset,
            pretrained=self.encoder,
            model=self.model,
            mean=self.mean,
            std=self.std,
            device=self.runtime.device,
            sink=self.sink,
            kernels=self.runtime.kernels,
        )
        return {row["source"]: row for row in result["rows"]}

    def _probe_config(self, head: str, passes: int, *, supervised: bool) -> ProbeConfig:
        config = self.config
        point = ProbePoint(self.task, 1.0, head, config.subset_seeds[0])
        base = probe_config(config, self.variant, config.seeds[0], point)
        pixels = ("pixels",) if "pixels" in config.baselines else ()
        probe = replace(
            base,
            # Of random weights nothing is timed: they cost what the pretrained encoder costs.
            baselines=(*pixels, "supervised") if supervised else pixels,
            supervised=replace(base.supervised, epochs=1, lr=base.supervised.lr[:1]),
        )
        if head not in HEADS:  # of the user's own: it keeps its settings to itself
            return probe
        return replace(probe, **{head: head_settings(base).with_passes(passes)})


def measure_feature(config: StudyConfig, variant: Variant, dataset: Dataset, sink: Sink) -> float:
    """Seconds of an image in a pass of the encoder of a variant.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink.log(f"timing a pass over {SMALL_TRAIN_IMAGES} images")
    return _small_probes(config, variant, dataset, "", _RequestsOnly(sink)).feature_seconds()


def measure_rates(
    config: StudyConfig, variant: Variant, dataset: Dataset, task: str, sink: Sink
) -> ProbeRates:
    """Times small probes of an untrained encoder, with all heads and baselines of the study.

    Args:
        config: the study.
        variant: whose architecture is measured.
        dataset: its images, with test images.
        task: of the study; the one with the most groups takes the longest.
        sink: logs what is measured, and is asked whether to stop.

    Raises:
        UserError: what a probe would refuse.
        Interrupted: when the sink asked to stop.
    """
    sink.log(f"timing small probes of {SMALL_TRAIN_IMAGES} images")
    probes = _small_probes(config, variant, dataset, task, _RequestsOnly(sink))
    feature = probes.feature_seconds()
    heads: dict[tuple[str, bool], float] = {}
    view: dict[bool, float] = {}
    supervised = 0.0
    trains = any(head_settings(config.probe, head).trains_encoder for head in config.heads)
    for number, head in enumerate(config.heads):
        from_scratch = number == 0 and (trains or "supervised" in config.baselines)
        rows = probes.rows(head, supervised=from_scratch)
        if from_scratch:
            supervised = _supervised_seconds(rows.pop("supervised"), feature * probes.test_images)
        settings = head_settings(config.probe, head)
        repeats = settings.with_passes(1) != settings.with_passes(2)
        # The same probe with more passes: the difference is theirs alone.
        long_rows = probes.rows(head, passes=1 + _PASSES) if repeats else {}
        for source, row in rows.items():
            of_pixels = source == "pixels"
            # Pixels take no pass of an encoder.
            images = 0 if of_pixels else probes.train_images + probes.test_images
            seconds = max(row["seconds"] - feature * images, 0.0)  # without the feature passes
            if not repeats:
                heads[head, of_pixels] = seconds / probes.train_images
                continue
            one_pass = max(long_rows[source]["seconds"] - row["seconds"], 0.0) / _PASSES
            heads[head, of_pixels] = one_pass / probes.train_images
            if settings.views_per_image():
                view[of_pixels] = max(seconds - one_pass, 0.0) / probes.train_images
    return ProbeRates(feature, view, heads, supervised)


def _small_probes(
    config: StudyConfig, variant: Variant, dataset: Dataset, task: str, sink: Sink
) -> _SmallProbes:
    small = Dataset(
        dataset.name,
        _few(dataset.train, SMALL_TRAIN_IMAGES),
        None if dataset.test is None else _few(dataset.test, _TEST_IMAGES),
        dataset.class_names,
    )
    runtime = resolve_runtime(config.probe.runtime, recorded={})
    model = pretrain_config(config, variant, config.seeds[0]).model
    encoder = build_encoder_quietly(model, small.train.images.shape[-1]).eval().to(runtime.device)
    mean, std = channel_statistics(small.train.images)
    return _SmallProbes(config, variant, model, task, small, encoder, mean, std, runtime, sink)


def _few(split: Split, count: int) -> Split:
    """At most ``count`` images with a label, stratified by class."""
    rows = split.labelled_rows
    return split.take(rows[limited(split.labels[rows], min(count, len(rows)))])


def _supervised_seconds(row: dict[str, Any], test_seconds: float) -> float:
    """Of an image seen by the training from scratch, without the pass over the test images."""
    seconds, images = float(row["seconds"]), int(row["budget"]["images"])
    return max(seconds - test_seconds, 0.0) / max(images, 1)
