"""The interface of a probe's head, how one is loaded, and how it is evaluated.

A head is a classifier on frozen features. One that comes with the program is a line in
``engine.config.heads``; it is constructed with its settings. One of a user's own is named in the
setting ``head`` as ``package.module:Name``, a class that is made without arguments or an object,
with the two methods of ``Head``::

    class NearestMean:
        def reports(self, fit, validate):
            return 0

        def fit(self, data):
            means = [data.features[data.targets == c].mean(0) for c in range(data.classes)]
            return Means(torch.stack(means))  # with predict(features) and chosen
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from engine.config.heads import HEADS
from engine.config.schema import AugmentConfig, ModelConfig, ProbeConfig, head_settings
from engine.errors import ConfigError, TrainingError, described
from engine.evaluate.accuracy import score
from engine.evaluate.features import Standardiser
from engine.evaluate.tasks import Material
from engine.models.encoder import Encoder
from engine.probe.augmented_views import LIGHT_AUGMENT, Views
from engine.probe.labelled_features import LabelledFeatures
from engine.probe.principal_directions import Spectrum
from engine.probe.scratch_gain import RIGHT, packed
from engine.probe.supervised_training import SupervisedData
from engine.sink import NullSink, Sink

Report = Callable[[dict[str, float]], None]


class MakeViews(Protocol):
    """Makes augmented views of the labelled images."""

    def __call__(self, wanted: int, augment: AugmentConfig = LIGHT_AUGMENT, /) -> Views:
        """So many views of each image, or fewer; all calls of a head with the same ``augment``."""


@dataclass(frozen=True)
class EncoderToTrain:
    """What a head needs that trains the encoder on the labelled images.

    Attributes:
        encoder: with the first weights, on any device; must be copied, not changed.
        images: the labelled images, with targets and rows as in ``HeadData``.
        model: the architecture.
        standardise: what has standardised the features of ``HeadData``.
        device: where to train.
        seed: of the training from scratch, whose batches and augmentations are then the same.
    """

    encoder: Encoder
    images: SupervisedData
    model: ModelConfig
    standardise: Standardiser
    device: torch.device
    seed: int


@dataclass(frozen=True)
class HeadData:
    """What a head is fitted to; everything that it chooses, it chooses inside this.

    Attributes:
        features: float32 (n, D), of the labelled images as they are, standardised.
        targets: int64 (n,) in [0, classes), on the device of the features.
        classes: number of classes.
        fit: int64, rows to fit on while something is chosen.
        validate: int64, rows to choose by; empty when the labelled part is too small.
        views: computes (or takes from a cache) that many augmented views of each image, fewer where
            they would not fit into memory; for heads whose settings ask for views. See
            ``MakeViews``.
        spectrum: computes (or takes from a cache) the directions in which the features vary most.
        encoder: what has made the features, for heads that train it; None: no encoder has.
        untuned: why nothing is held out and tuned, for the protocol; empty where it is.
        seed: of whatever the head draws at random.
        sink: receives the progress, and lines for the log; a long fit calls ``check_interrupt``
            with it now and then.
        report: receives named values during the fit, for the metrics.
    """

    features: Tensor
    targets: Tensor
    classes: int
    fit: Tensor
    validate: Tensor
    views: MakeViews
    spectrum: Callable[[], Spectrum]
    encoder: EncoderToTrain | None = None
    untuned: str = ""
    seed: int = 0
    sink: Sink = field(default_factory=NullSink)
    report: Report = lambda _values: None


class FittedHead(Protocol):
    """A head whose regularisation is chosen and that is fitted to the whole labelled part."""

    @property
    def chosen(self) -> dict[str, Any]:
        """What was chosen, and from what: builtin values, for the row of the result."""

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features float32 (N, D)."""


@runtime_checkable
class ImageClassifier(Protocol):
    """A fitted head that classifies images, for it has trained an encoder of its own."""

    @property
    def chosen(self) -> dict[str, Any]:
        """See ``FittedHead.chosen``."""

    @property
    def predict_images(self) -> Callable[[Tensor], Tensor]:
        """Classes int64 (N,) of uint8 images (N, 3, H, W)."""


class Head(Protocol):
    """A classifier on the features of an encoder."""

    def reports(self, fit: int, validate: int) -> int:
        """How often ``fit`` calls ``report`` at most: the steps of the probe.

        Args:
            fit: images to fit on while something is chosen.
            validate: images to choose by.
        """

    def fit(self, data: HeadData) -> FittedHead | ImageClassifier:
        """Fits the head to the labelled images."""


def load_head(config: ProbeConfig) -> Head:
    """The head of a probe.

    Raises:
        ConfigError: when there is none of that name, or a user's own lacks what a head has.
    """
    work = HEADS.load(config.head)
    if config.head in HEADS:
        # One that takes more than its own section is made from the whole probe.
        of_probe = getattr(work, "of_probe", None)
        head: Head = work(head_settings(config)) if of_probe is None else of_probe(config)
        return head
    try:
        head = work() if isinstance(work, type) else work
    except Exception as error:  # the user's code may raise anything
        reason = described(error)
        raise ConfigError(
            f"head is {config.head}, which cannot be made without arguments ({reason}); it must "
            "be a class that can, or an object.",
            "head",
        ) from error
    missing = [name for name in ("reports", "fit") if not callable(getattr(head, name, None))]
    if missing:
        raise ConfigError(
            f"head is {config.head}, which has no {' and no '.join(missing)}; it must have the "
            "methods reports(fit, validate) and fit(data), as engine.probe.head.Head says.",
            "head",
        )
    return head


def evaluate_head(
    fitted: FittedHead | ImageClassifier,
    labelled: LabelledFeatures,
    test_features: Callable[[], Tensor],
    material: Material,
    test_images: Callable[[], Tensor] | None = None,
) -> dict[str, Any]:
    """How a fitted head does on the test images.

    Args:
        fitted: the head, final.
        labelled: features of the labelled images; those of the test are standardised likewise.
        test_features: makes those of the test images of the task, (m, D); called once.
        material: the labels of the test.
        test_images: makes the test images of the task, uint8 (m, 3, H, W), for an
            ``ImageClassifier``; called once, in place of ``test_features``.

    Returns:
        The figures of ``engine.evaluate.accuracy.score``, ``right`` (see
        ``engine.probe.scratch_gain``) and ``chosen`` of the head; also its ``protocol``, where it
        has one.

    Raises:
        TrainingError: when the head does not give a class to each image.
    """
    classes = len(material.task.groups)
    if isinstance(fitted, ImageClassifier):
        assert test_images is not None  # given wherever there is an encoder to train
        predicted = fitted.predict_images(test_images())
    else:
        predicted = fitted.predict(labelled.standardise(test_features()))
    # A head may be the user's code; negative classes would be counted in wrong cells.
    if (
        predicted.shape != material.test_targets.shape
        or predicted.dtype != torch.int64
        or not bool(((predicted >= 0) & (predicted < classes)).all())
    ):
        raise TrainingError(
            f"The head predicted {predicted.dtype} of shape {tuple(predicted.shape)}; it must be "
            f"int64 ({len(material.test_targets)},), each from 0 to {classes - 1}."
        )
    return {
        **score(material.test_targets, predicted, material.task.groups),
        RIGHT: packed(predicted.cpu() == material.test_targets),
        "chosen": fitted.chosen,
        **({"protocol": str(words)} if (words := getattr(fitted, "protocol", "")) else {}),
    }
