"""A head on frozen features: standardised, fitted inside the labelled part, judged on the test.

The features come from anywhere: a probe computes them for one head, a study once for many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from engine.config import LinearConfig, LogisticConfig
from engine.errors import TrainingError
from engine.features import Standardiser
from engine.linear import fit_linear
from engine.logistic import fit_logistic
from engine.metrics import score
from engine.sink import NullSink, Sink
from engine.tasks import Material

Report = Callable[[dict[str, float]], None]


def judge_logistic(
    features: Tensor,
    test_features: Callable[[], Tensor],
    material: Material,
    config: LogisticConfig,
    *,
    sink: Sink | None = None,
    report: Report = lambda _values: None,
) -> dict[str, Any]:
    """Fits logistic regression and judges it.

    Args:
        features: float32 (n, D), of the labelled images, as they come from the encoder.
        test_features: makes those of the test images of the task, (m, D); called once, when the
            head is final.
        material: the labels and how they are split.
        config: the strengths.
        sink: hears the progress, and what did not go as it should.
        report: hears ``validation_loss`` and ``validation_top1`` of the strength chosen, then
            ``loss``: the objective at the optimum.

    Returns:
        The figures of ``engine.metrics.score`` and ``chosen``: ``l2``, ``iterations``,
        ``gradient`` (largest entry), ``converged``, ``at_edge``, ``candidates``.

    Raises:
        TrainingError: when the features are not finite.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    standardise = fit_standardiser(features)
    fitted = fit_logistic(
        standardise(features),
        material.targets,
        len(material.task.groups),
        config,
        fit=material.fit,
        validate=material.validate,
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
    report({"loss": solution.objective})
    predicted = fitted.predict(standardise(test_features()))
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
    features: Tensor,
    views: Tensor,
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
        features: float32 (n, D), of the labelled images, as they come from the encoder.
        views: float32 (V, n, D), of augmented views of them; standardised in place.
        test_features: makes those of the test images of the task, (m, D); called once, when the
            head is final.
        material: the labels and how they are split.
        config: the learning rates and epochs.
        seed: of the order of the images.
        sink: hears the progress, and what did not go as it should.
        report: see ``fit_linear``.

    Returns:
        The figures of ``engine.metrics.score`` and ``chosen``: ``lr``, ``views``, ``at_edge``,
        ``candidates``.

    Raises:
        TrainingError: when the features are not finite.
        Interrupted: when the sink asked to stop.
    """
    sink = NullSink() if sink is None else sink
    standardise = fit_standardiser(features)
    for view in views:
        view.copy_(standardise(view))
    fitted = fit_linear(
        views,
        standardise(features),
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
    predicted = fitted.predict(standardise(test_features()))
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
