"""What the parts of a study cost here: small probes of an untrained encoder, timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from msgspec import Struct
from msgspec.structs import replace
from torch import Tensor

from engine.config.schema import Head, ProbeConfig, StudyConfig
from engine.data.dataset import Dataset, Split, channel_statistics, limited
from engine.evaluate.features import extract
from engine.jobs.estimate import seconds_of
from engine.jobs.trained_encoder import build_encoder_quietly
from engine.models.encoder import Encoder
from engine.probe.probe_run import run_probe
from engine.runtime.device import resolve_runtime
from engine.sink import NullSink, Request, Sink
from engine.study.grid import ProbePoint, probe_config

SMALL_TRAIN_IMAGES = 600
_TEST_IMAGES = 300
_EPOCHS = 20  # of the linear head: one epoch alone would mostly time what comes before it


class ProbeRates(Struct, frozen=True):
    """Measured seconds, each for one image (or label).

    Attributes:
        feature: a pass of an encoder.
        view: an augmented view and its pass, by whether the features are pixels.
        heads: by head and whether the features are pixels: of a cell (logistic), or of an epoch
            (linear).
        supervised: an image seen by the training from scratch.
    """

    feature: float
    view: dict[bool, float]
    heads: dict[tuple[str, bool], float]
    supervised: float


class _RequestsOnly(NullSink):
    """Hears nothing of a small probe, but asks what another sink asks.

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
        task: with the most groups of those that the study has.
        dataset: a few of its images.
        encoder: in eval mode, on the device.
        mean, std: float32 ``(3,)``, of the channels in [0, 1].
        device: where to compute.
        sink: asked whether to stop.
    """

    config: StudyConfig
    task: str
    dataset: Dataset
    encoder: Encoder
    mean: Tensor
    std: Tensor
    device: torch.device
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
        first, second = (seconds_of(self._pass, self.device) for _ in range(2))
        return min(first, second) / self.train_images

    def _pass(self) -> None:
        extract(
            self.encoder,
            self.dataset.train.images,
            mean=self.mean,
            std=self.std,
            device=self.device,
            what="backbone",
            sink=self.sink,
        )

    def rows(self, head: Head, *, epochs: int = 1, supervised: bool = False) -> dict[str, Any]:
        """The rows of a probe with one view and one learning rate from scratch, by source."""
        result = run_probe(
            self._probe_config(head, epochs, supervised=supervised),
            dataset=self.dataset,
            pretrained=self.encoder,
            model=self.config.pretrain.model,
            mean=self.mean,
            std=self.std,
            device=self.device,
            sink=self.sink,
        )
        return {row["source"]: row for row in result["rows"]}

    def _probe_config(self, head: Head, epochs: int, *, supervised: bool) -> ProbeConfig:
        config = self.config
        point = ProbePoint(self.task, 1.0, head, config.subset_seeds[0])
        base = probe_config(config, config.queue_sizes[0], config.seeds[0], point)
        pixels = ("pixels",) if "pixels" in config.baselines else ()
        return replace(
            base,
            baselines=(*pixels, "supervised") if supervised else pixels,
            linear=replace(base.linear, views=1, epochs=epochs),
            supervised=replace(base.supervised, epochs=1, lr=base.supervised.lr[:1]),
        )


def measure_rates(config: StudyConfig, dataset: Dataset, task: str, sink: Sink) -> ProbeRates:
    """Times small probes of an untrained encoder, with all heads and baselines of the study.

    Args:
        config: the study.
        dataset: its images, with test images.
        task: of the study; the one with the most groups takes the longest.
        sink: told what is measured, and asked whether to stop.

    Raises:
        UserError: what a probe would refuse.
        Interrupted: when the sink asked to stop.
    """
    sink.log(f"timing small probes of {SMALL_TRAIN_IMAGES} images")
    probes = _small_probes(config, dataset, task, _RequestsOnly(sink))
    feature = probes.feature_seconds()
    heads: dict[tuple[str, bool], float] = {}
    view: dict[bool, float] = {}
    supervised = 0.0
    for number, head in enumerate(config.heads):
        from_scratch = number == 0 and "supervised" in config.baselines
        rows = probes.rows(head, supervised=from_scratch)
        if from_scratch:
            supervised = _supervised_seconds(rows.pop("supervised"), feature * probes.test_images)
        long_rows = probes.rows(head, epochs=1 + _EPOCHS) if head == "linear" else {}
        for source, row in rows.items():
            of_pixels = source == "pixels"
            images = 0 if of_pixels else probes.train_images + probes.test_images
            seconds = max(row["seconds"] - feature * images, 0.0)  # without the feature passes
            if head == "logistic":
                heads[head, of_pixels] = seconds / probes.train_images
            else:
                more = max(long_rows[source]["seconds"] - row["seconds"], 0.0)
                epoch = more / _EPOCHS
                heads[head, of_pixels] = epoch / probes.train_images
                view[of_pixels] = max(seconds - epoch, 0.0) / probes.train_images
    return ProbeRates(feature, view, heads, supervised)


def _small_probes(config: StudyConfig, dataset: Dataset, task: str, sink: Sink) -> _SmallProbes:
    assert dataset.test is not None
    small = Dataset(
        dataset.name,
        _few(dataset.train, SMALL_TRAIN_IMAGES),
        _few(dataset.test, _TEST_IMAGES),
        dataset.class_names,
    )
    device = resolve_runtime(config.probe.runtime, recorded={}).device
    encoder = build_encoder_quietly(config.pretrain.model).eval().to(device)
    mean, std = channel_statistics(small.train.images)
    return _SmallProbes(config, task, small, encoder, mean, std, device, sink)


def _few(split: Split, count: int) -> Split:
    """At most so many images, of all classes alike."""
    return split.take(limited(split.labels, min(count, len(split))))


def _supervised_seconds(row: dict[str, Any], test_seconds: float) -> float:
    """Of an image seen by the training from scratch, without the pass over the test images."""
    seconds, images = float(row["seconds"]), int(row["budget"]["images"])
    return max(seconds - test_seconds, 0.0) / max(images, 1)
