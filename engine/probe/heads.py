"""A head on frozen features: standardised, fitted inside the labelled part, judged on the test.

The features come from anywhere: a probe computes them for one head, a study once for many.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from engine.config.schema import LinearConfig, LogisticConfig
from engine.errors import TrainingError
from engine.evaluate.features import Standardiser
from engine.evaluate.metrics import score
from engine.evaluate.tasks import Material
from engine.probe.linear import Views, fit_linear
from engine.probe.logistic import fit_logistic
from engine.probe.principal_directions import Spectrum
from engine.sink import NullSink, Sink

Report = Callable[[dict[str, float]], None]


class Labelled:
    """Features of the labelled images, standardised: what every head on them begins with.

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


def judge_logistic(
    labelled: Labelled,
    test_features: Callable[[], Tensor],
    material: Material,
    config: LogisticConfig,
    *,
    sink: Sink | None = None,
    report: Report = lambda _values: None,
) -> dict[str, Any]:
    """Fits logistic regression and judges it.

    Args:
        labelled: features of the labelled images.
        test_features: makes those of the test images of the task, (m, D); called once, when the
            head is final.
        material: the labels and how they are split.
        config: the strengths.
        sink: hears the progress, and what did not go as it should.
        report: hears ``validation_loss`` and ``validation_top1`` of the strength chosen, then
            ``loss``: the objective at the optimum.

    Returns:
        The figures of ``engine.evaluate.metrics.score`` and ``chosen``: ``l2``, ``iterations``,
        ``gradient`` (largest entry), ``converged``, ``at_edge``, ``candidates``.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    fitted = fit_logistic(
        labelled.features,
        material.targets,
        len(material.task.groups),
        config,
        fit=material.fit,
        validate=material.validate,
        spectrum=labelled.spectrum,
        sink=sink,
    )
    solution = fitted.solution
    winner = [c for c in fitted.candidates if c["l2"] == fitted.l2]
    if winner:
        report({"validation_loss": winner[0]["loss"], "validation_top1": winner[0]["top1"]})
    else:
        sink.log(f"nothing to choose by: the l2 strength {fitted.l2:g} is taken as it is")
    if fitted.at_edge:
        sink.log(f"the l2 strength {fitted.l2:g} is the last of those to choose from")
    if not solution.converged:
        sink.log(
            f"the logistic head has not converged: largest gradient entry {solution.gradient:.1e} "
            f"after {solution.iterations} iterations"
        )
    elif solution.gradient > config.tolerance:
        sink.log(
            f"the logistic head is at the floor of float64: largest gradient entry "
            f"{solution.gradient:.1e} where {config.tolerance:.1e} was asked"
        )
    report({"loss": solution.objective})
    predicted = fitted.predict(labelled.standardise(test_features()))
    return {
        **score(material.test_targets, predicted, material.task.groups),
        "chosen": {
            "l2": fitted.l2,
            "iterations": solution.iterations,
            "gradient": solution.gradient,
            "converged": solution.converged,
            "at_edge": fitted.at_edge,
            "candidates": list(fitted.candidates),
        },
    }


def judge_linear(
    labelled: Labelled,
    views: Views,
    test_features: Callable[[], Tensor],
    material: Material,
    config: LinearConfig,
    *,
    seed: int,
    sink: Sink | None = None,
    report: Report = lambda _values: None,
) -> dict[str, Any]:
    """Trains a linear layer and judges it.

    Args:
        labelled: features of the labelled images.
        views: of augmented views of them, standardised likewise.
        test_features: makes those of the test images of the task, (m, D); called once, when the
            head is final.
        material: the labels and how they are split.
        config: the learning rates and epochs.
        seed: of the order of the images.
        sink: hears the progress, and what did not go as it should.
        report: see ``fit_linear``.

    Returns:
        The figures of ``engine.evaluate.metrics.score`` and ``chosen``: ``lr``, ``views``,
        ``at_edge``, ``candidates``.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    fitted = fit_linear(
        views,
        labelled.features,
        material.targets,
        len(material.task.groups),
        config,
        fit=material.fit,
        validate=material.validate,
        seed=seed,
        sink=sink,
        report=report,
    )
    if not fitted.candidates:
        sink.log(f"nothing to choose by: the learning rate {fitted.lr:g} is taken as it is")
    if fitted.at_edge:
        sink.log(f"the learning rate {fitted.lr:g} is the last of those to choose from")
    predicted = fitted.predict(labelled.standardise(test_features()))
    return {
        **score(material.test_targets, predicted, material.task.groups),
        "chosen": {
            "lr": fitted.lr,
            "views": len(views),
            "at_edge": fitted.at_edge,
            "candidates": list(fitted.candidates),
        },
    }


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
