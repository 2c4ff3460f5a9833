"""The strength of the penalty of a logistic head, chosen inside the labelled part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.config.heads.logistic import LogisticConfig
from engine.evaluate.folds import FEW_HELD_OUT, fold_count, stratified_folds
from engine.probe.logistic import Problem, Solution, solve_logistic, solve_many
from engine.probe.principal_directions import Spectrum
from engine.sink import Sink

_TOGETHER = 3  # strengths tried at a time; see ``fit_logistic``

Tried = tuple[Solution, dict[str, Any]]
"""A solution to begin the next one at, and the strength as a candidate."""


@dataclass(frozen=True)
class LogisticFit:
    """A logistic head with its strength chosen.

    Attributes:
        solution: the optimum over the whole labelled part.
        l2: its strength.
        candidates: for each strength tried, from strong to weak: ``l2``, ``loss`` and ``top1``
            (percent) on the images held out, ``iterations``, ``converged``; empty when nothing
            could be chosen.
        at_edge: whether the strongest or the weakest of all strengths won over others.
        folds: of the cross-validation that chose it; 0: one part was held out, or nothing.
    """

    solution: Solution
    l2: float
    candidates: tuple[dict[str, Any], ...]
    at_edge: bool
    folds: int = 0

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features (N, D)."""
        return self.solution.logits(features).argmax(dim=1)


def folds_of(config: LogisticConfig, targets: Tensor, classes: int, validate: int) -> int:
    """How many folds choose the strength; 0 where one held-out part does, or nothing can.

    Args:
        config: how many folds are wanted.
        targets: int64 (n,), of the labelled images.
        classes: number of classes.
        validate: images that would be held out otherwise; 0: nothing is to be tuned.
    """
    if not config.folds or not 0 < validate < FEW_HELD_OUT:
        return 0
    return fold_count(targets, classes, config.folds)


def fit_logistic(
    features: Tensor,
    targets: Tensor,
    classes: int,
    config: LogisticConfig,
    *,
    fit: Tensor,
    validate: Tensor,
    spectrum: Spectrum | None = None,
    sink: Sink | None = None,
) -> LogisticFit:
    """Chooses the strength inside the labelled part, then fits the whole of it.

    The strength with the lowest mean cross-entropy on the images held out wins; of equal ones the
    strongest. They are tried from strong to weak, three at a time, until the loss rises: it falls
    and then rises along the strengths, and the weak ones take most of the iterations. (The
    accuracy on few images is too coarse to choose by: with 100 to 2,500 labels of CIFAR-10 it
    cost 0.5 to 1.6 points of test accuracy more than the loss did.)

    Held out is the part ``validate``; where that has fewer than ``FEW_HELD_OUT`` images, each
    labelled image once, by ``config.folds`` stratified folds.

    Args:
        features: standardised, (n, D), of the labelled part.
        targets: int64 (n,) in [0, classes).
        classes: number of classes.
        config: the strengths, the folds, and when to stop.
        fit: rows to fit on while choosing.
        validate: rows to choose by; none: the middle strength is taken.
        spectrum: of these features; None: computed here.
        sink: receives the progress, and is asked once an iteration whether to stop.

    Raises:
        Interrupted: when the sink asked to stop.
    """
    strengths = sorted(set(config.l2), reverse=True)
    options: dict[str, Any] = {"max_iter": config.max_iter, "tolerance": config.tolerance}
    options |= {"sink": sink, "spectrum": spectrum or Spectrum.of(features)}
    targets = targets.to(features.device)
    folds = folds_of(config, targets, classes, len(validate)) if len(strengths) > 1 else 0
    best, tried = len(strengths) // 2, list[Tried]()
    if folds:
        by_folds = _ByFolds(features, targets, classes, folds, options)
        best, tried = _choose(strengths, by_folds.try_)
    elif len(validate) and len(strengths) > 1:
        held = _HeldOut(features, targets, classes, fit, validate, options)
        best, tried = _choose(strengths, held.try_)
    start = tried[best][0] if tried else None  # near the optimum over all labelled images
    solution = solve_logistic(features, targets, classes, strengths[best], start=start, **options)
    at_edge = bool(tried) and best in (0, len(strengths) - 1)
    candidates = tuple(candidate for _, candidate in tried)
    return LogisticFit(solution, strengths[best], candidates, at_edge, folds)


def _choose(
    strengths: Sequence[float], try_: Callable[[Sequence[float]], list[Tried]]
) -> tuple[int, list[Tried]]:
    """The place of the best strength, and all that were tried, from strong to weak."""
    tried: list[Tried] = []
    best = 0
    while len(tried) < len(strengths):
        tried += try_(strengths[len(tried) : len(tried) + _TOGETHER])
        best = min(range(len(tried)), key=lambda i: tried[i][1]["loss"])
        if best < len(tried) - 1:  # the loss has begun to rise
            break
    return best, tried


class _HeldOut:
    """Tries strengths by one part that is held out; see ``fit_logistic``."""

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        classes: int,
        fit: Tensor,
        validate: Tensor,
        options: dict[str, Any],
    ) -> None:
        fit, validate = fit.to(features.device), validate.to(features.device)
        self._part, self._of_part = features[fit], targets[fit]
        self._held, self._truth = features[validate].double(), targets[validate]
        self._classes, self._options = classes, options
        self._warm: Solution | None = None

    def try_(self, strengths: Sequence[float]) -> list[Tried]:
        """Each strength, begun at the optimum of the weakest so far."""
        problems = [Problem(self._of_part, self._classes, l2) for l2 in strengths]
        starts = [self._warm] * len(problems)
        new = solve_many(self._part, problems, starts=starts, **self._options)
        self._warm = new[-1]
        return [
            (solution, _candidate(l2, [solution], solution.logits(self._held), self._truth))
            for l2, solution in zip(strengths, new, strict=True)
        ]


class _ByFolds:
    """Tries strengths by cross-validation: each image is held out once; see ``fit_logistic``."""

    def __init__(
        self, features: Tensor, targets: Tensor, classes: int, folds: int, options: dict[str, Any]
    ) -> None:
        self._features, self._targets, self._classes = features, targets, classes
        self._fold = stratified_folds(targets, folds).to(features.device)
        self._folds, self._options = range(folds), options
        self._warm: list[Solution | None] = [None] * folds

    def try_(self, strengths: Sequence[float]) -> list[Tried]:
        """Each strength in all folds at once, each begun at the weakest so far of its fold."""
        # A row of target -1 is no part of a problem: all folds share the product with the features.
        targets = [torch.where(self._fold == fold, -1, self._targets) for fold in self._folds]
        problems = [Problem(of_fold, self._classes, l2) for l2 in strengths for of_fold in targets]
        starts = self._warm * len(strengths)
        solved = solve_many(self._features, problems, starts=starts, **self._options)
        count = len(self._folds)
        groups = [solved[i * count : (i + 1) * count] for i in range(len(strengths))]
        self._warm = list(groups[-1])
        return [
            (group[0], _candidate(l2, group, self._scores(group), self._targets))
            for l2, group in zip(strengths, groups, strict=True)
        ]

    def _scores(self, solutions: Sequence[Solution]) -> Tensor:
        """float64 (n, C): of each image by the solution that has not seen it."""
        wide = self._features.double()
        scores = torch.empty(len(wide), self._classes, dtype=torch.float64, device=wide.device)
        for fold, solution in zip(self._folds, solutions, strict=True):
            held = self._fold == fold
            scores[held] = solution.logits(wide[held])
        return scores


def _candidate(
    l2: float, solutions: Sequence[Solution], scores: Tensor, truth: Tensor
) -> dict[str, Any]:
    """How a strength does on the images held out."""
    return {
        "l2": l2,
        "loss": float(F.cross_entropy(scores, truth)),
        "top1": 100.0 * float((scores.argmax(1) == truth).double().mean()),
        "iterations": max(solution.iterations for solution in solutions),
        "converged": all(solution.converged for solution in solutions),
    }
