"""Features of the labelled images, standardised: what every head begins with."""

from __future__ import annotations

import functools

from torch import Tensor

from engine.errors import TrainingError
from engine.evaluate.features import Standardiser
from engine.probe.principal_directions import Spectrum


class LabelledFeatures:
    """Standardised features of the labelled images, with what follows from them alone.

    Args:
        features: float32 (n, D), as they come from the encoder.

    Attributes:
        standardise: the standardiser of these features.
        features: float32 (n, D), standardised.

    Raises:
        TrainingError: when the features are not finite.
    """

    def __init__(self, features: Tensor) -> None:
        self.standardise = fit_standardiser(features)
        self.features = self.standardise(features)

    @functools.cached_property
    def spectrum(self) -> Spectrum:
        """What the logistic solver is preconditioned with."""
        return Spectrum.of(self.features)


def fit_standardiser(features: Tensor) -> Standardiser:
    """The standardiser of the labelled features.

    Raises:
        TrainingError: when they are not finite.
    """
    standardise = Standardiser.fit(features)
    if not bool(standardise.mean.isfinite().all() & standardise.scale.isfinite().all()):
        raise TrainingError(
            "The features of the encoder are not finite: its pretraining has diverged, and there "
            "is nothing to probe."
        )
    return standardise
