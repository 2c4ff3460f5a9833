"""The rows of a probe: what each source of features, or the supervised baseline, is worth.

A source has two methods: ``reports`` says how many reports its fit makes at most, and ``row`` makes
its figures. Those beside the pretrained encoder are listed in ``engine.config.baselines``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from engine.config.baselines import BASELINES
from engine.config.heads import trains_encoder
from engine.config.schema import AugmentConfig, ProbeConfig
from engine.evaluate.accuracy import score
from engine.evaluate.features import frozen
from engine.evaluate.tasks import Material
from engine.models.encoder import Encoder
from engine.probe.augmented_views import LIGHT_AUGMENT, Views, affordable_views
from engine.probe.feature_sources import (
    PRETRAINED,
    FeaturesForManyProbes,
    FeaturesForOneProbe,
    FeatureSource,
)
from engine.probe.head import EncoderToTrain, Head, HeadData, Report, evaluate_head
from engine.probe.scratch_gain import RIGHT, packed
from engine.probe.supervised import fit_supervised
from engine.probe.supervised_budget import Budget, plan_budget
from engine.probe.supervised_training import SupervisedData
from engine.runs.encoder_step import EncoderStep
from engine.seeds import stream_seed
from engine.sink import Sink


@dataclass(frozen=True)
class ProbeInputs:
    """What every row of a probe is made from.

    Attributes:
        config: the probe.
        sources: compute the features.
        material: the labels, how they are split, and the test images.
        head: what is fitted to the features.
        sink: receives the progress, and is asked whether to stop.
        encoder_step: how far the pretrained encoder was trained; None: not known.
        pretrained_on: its data set; empty: trained elsewhere, or not known.
    """

    config: ProbeConfig
    sources: FeaturesForOneProbe | FeaturesForManyProbes
    material: Material
    head: Head
    sink: Sink
    encoder_step: EncoderStep | None = None
    pretrained_on: str = ""


class SourceRow(Protocol):
    """Makes one row of a probe."""

    def reports(self, probe: ProbeInputs) -> int:
        """How often ``row`` calls ``report`` at most."""

    def row(self, probe: ProbeInputs, report: Report) -> dict[str, Any]:
        """The figures of ``engine.evaluate.accuracy.score``, ``chosen`` and ``protocol``.

        Also ``right``, see ``engine.probe.scratch_gain``.
        """


def load_source_row(name: str) -> SourceRow:
    """What makes the row of the pretrained encoder or of a baseline."""
    if name == PRETRAINED:
        return PRETRAINED_ENCODER
    module, _, attribute = BASELINES[name].work.partition(":")
    row: SourceRow = getattr(importlib.import_module(module), attribute)
    return row


def supervised_data(probe: ProbeInputs) -> SupervisedData:
    """The labelled images of a probe, for trainings on them."""
    material, sources = probe.material, probe.sources
    return SupervisedData(
        sources.dataset.train.images[material.rows],
        material.targets,
        len(material.task.groups),
        material.fit,
        material.validate,
        sources.mean,
        sources.std,
        sources.kernels,
        material.untuned,
    )


def supervised_seed(probe: ProbeInputs) -> int:
    """The seed of every training on the labelled images, from whatever start."""
    return stream_seed(probe.config.runtime.seed, "supervised")


def head_row(
    name: str,
    features: FeatureSource,
    probe: ProbeInputs,
    report: Report,
    encoder: Encoder | None = None,
) -> dict[str, Any]:
    """Fits the head of a probe to the features of a source, and evaluates it.

    Args:
        name: of the source, for the log.
        features: of the source.
        probe: the labels and the head.
        report: receives named values during the fit.
        encoder: what makes the features, for heads that train it.

    Raises:
        TrainingError: when the features are not finite.
        Interrupted: when the sink asked to stop.
    """
    material, sink = probe.material, probe.sink
    labelled = features.labelled(material.rows, sink)
    # The same augmentations and the same order for every source: a paired comparison.
    seed = stream_seed(probe.config.runtime.seed, "linear")

    def views(wanted: int, augment: AugmentConfig = LIGHT_AUGMENT) -> Views:
        count = affordable_views(wanted, *labelled.features.shape)
        if count < wanted:
            sink.log(
                f"{name}: {count} views of each image in place of {wanted}, so that "
                "their features fit into the memory meant for them"
            )
        made, places = features.views(material.rows, count, seed, sink, augment)
        return Views.standardised(made, places, labelled.standardise)

    # A function, so that the test images are read only when the head is final.
    def test_features() -> Tensor:
        return features.test(material.test_rows, sink)

    def test_images() -> Tensor:
        assert probe.sources.dataset.test is not None
        return probe.sources.dataset.test.images[material.test_rows]

    to_train = None
    if encoder is not None and trains_encoder(probe.config.head):
        sources = probe.sources
        to_train = EncoderToTrain(
            encoder,
            supervised_data(probe),
            sources.model,
            labelled.standardise,
            sources.device,
            supervised_seed(probe),
        )
    fitted = probe.head.fit(
        HeadData(
            labelled.features,
            material.targets.to(labelled.features.device),
            len(material.task.groups),
            material.fit,
            material.validate,
            views=views,
            spectrum=lambda: labelled.spectrum,  # computed only for heads that ask for it
            encoder=to_train,
            untuned=material.untuned,
            seed=seed,
            sink=sink,
            report=report,
        )
    )
    return evaluate_head(fitted, labelled, test_features, material, test_images)


@dataclass(frozen=True)
class EncoderRow:
    """An encoder with the head of the probe.

    Attributes:
        name: of the source.
        protocol: what it is, in words.
    """

    name: str
    protocol: str

    def reports(self, probe: ProbeInputs) -> int:
        """See ``SourceRow.reports``."""
        return probe.head.reports(len(probe.material.fit), len(probe.material.validate))

    def row(self, probe: ProbeInputs, report: Report) -> dict[str, Any]:
        """See ``SourceRow.row``.

        Raises:
            NotFrozenError: when the encoder has changed.
        """
        encoder = probe.sources.encoder(self.name, probe.config.runtime.seed, probe.sink)
        with frozen(encoder):
            features = probe.sources.of_encoder(self.name, encoder)
            row = head_row(self.name, features, probe, report, encoder)
        return {**row, "protocol": _joined(self.protocol, row)}


def _joined(source: str, row: Mapping[str, Any]) -> str:
    """What a source is and, where its head says it, what was done with it."""
    return f"{source}; {row['protocol']}" if row.get("protocol") else source


class PixelsRow:
    """The images themselves with the head of the probe."""

    def reports(self, probe: ProbeInputs) -> int:
        """See ``SourceRow.reports``."""
        return probe.head.reports(len(probe.material.fit), len(probe.material.validate))

    def row(self, probe: ProbeInputs, report: Report) -> dict[str, Any]:
        """See ``SourceRow.row``."""
        row = head_row("pixels", probe.sources.of_pixels(), probe, report)
        text = "the values of the image itself, with the same head"
        return {**row, "protocol": _joined(text, row)}


class SupervisedRow:
    """The same architecture trained from scratch with the same labels."""

    def reports(self, probe: ProbeInputs) -> int:
        """See ``SourceRow.reports``."""
        return self._budget(probe).reports

    def _budget(self, probe: ProbeInputs) -> Budget:
        material = probe.material
        return plan_budget(
            probe.config.supervised,
            len(material.rows),
            len(material.fit),
            len(material.validate),
        )

    def row(self, probe: ProbeInputs, report: Report) -> dict[str, Any]:
        """See ``SourceRow.row``; also ``budget`` and ``convergence``, see ``SupervisedFit``.

        Raises:
            TrainingError: when it diverges with every learning rate.
        """
        material, sources, test = probe.material, probe.sources, probe.sources.dataset.test
        assert test is not None
        fitted = fit_supervised(
            supervised_data(probe),
            sources.model,
            probe.config.supervised,
            device=sources.device,
            seed=supervised_seed(probe),
            sink=probe.sink,
            report=report,
        )
        predicted = fitted.predict(test.images[material.test_rows])
        return {
            **score(material.test_targets, predicted, material.task.groups),
            RIGHT: packed(predicted.cpu() == material.test_targets),
            "chosen": fitted.chosen,
            **fitted.training,
        }


PRETRAINED_ENCODER = EncoderRow(PRETRAINED, "the pretrained encoder")
RANDOM_INIT = EncoderRow(
    "random-init",
    "the same architecture with random weights, BatchNorm statistics set on training images",
)
PIXELS = PixelsRow()
SUPERVISED = SupervisedRow()
