"""What fine-tuning chose: the learning rate and the length of the training, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.config.phrases import listed
from engine.probe.logistic_choice import LogisticFit
from engine.probe.supervised import Trial
from engine.probe.supervised_budget import Budget
from engine.probe.supervised_convergence import paired_gain


@dataclass(frozen=True)
class Tuning:
    """How the learning rate and the length were chosen.

    Attributes:
        lr: the rate of the backbone; 0: the encoder was left as it was.
        head_lr: that of the classifier; None: the same.
        candidates: for each rate, ascending, 0 (frozen) first: ``lr``, ``loss`` and ``top1``
            (percent) on the held-out images after a short trial, or ``diverged``. Empty when
            nothing was tuned.
        budget: what was spent.
        reason: why the encoder was left as it was; empty where it was not.
        frozen: the logistic head on the frozen features.
        decision: ``lr``, ``epochs``, ``loss`` and ``top1`` of the trial that won, its ``gain`` over
            the frozen encoder in points and the standard ``error`` of that, and ``lengths``: of
            each length ``epochs``, ``loss`` and ``top1``, shortest first. Empty without one.
        untuned: why nothing was held out and tuned; empty where it was.
    """

    lr: float
    head_lr: float | None
    candidates: tuple[dict[str, Any], ...]
    budget: Budget
    reason: str
    frozen: LogisticFit
    decision: dict[str, Any]
    untuned: str = ""

    @property
    def chosen(self) -> dict[str, Any]:
        """See ``FittedHead.chosen``."""
        own_head = self.lr and self.head_lr is not None
        return {
            "lr": self.lr,
            **({"head_lr": self.head_lr} if own_head else {}),
            "l2": self.frozen.l2,
            "reason": self.reason,
            "candidates": list(self.candidates),
            "decision": self.decision,
            "tuning": self.budget.figures(),
        }

    @property
    def protocol(self) -> str:
        """What was done, in words."""
        if self.reason:
            return f"not fine-tuned: {self.reason}, so this is the logistic head on it as it is"
        own_head = "" if self.head_lr is None else f", {self.head_lr:g} for the classifier"
        return (
            "fine-tuned with BatchNorm over the whole batch and a classifier that starts as the "
            f"logistic head on the frozen features: {self.budget.length_text()}; learning rate "
            f"{self.lr:g} for the backbone{own_head}; {self._choice_words()}"
        )

    def _choice_words(self) -> str:
        """What the rate and the length were chosen from, and by what."""
        budget, decision = self.budget, self.decision
        if not decision:
            return (
                f"{self.untuned}: the rates and the length are fixed, and so is the L2 strength "
                f"{self.frozen.l2:g} of the head that it starts as"
            )
        rates = (
            f"the backbone's rate chosen from {budget.rates} by trainings of "
            f"{budget.selection_epochs} epochs inside the labelled part, "
            if budget.chooses
            else ""
        )
        lengths = listed([str(length["epochs"]) for length in decision["lengths"]], "or")
        return (
            f"{rates}the length from {lengths} epochs (0: the frozen encoder); on the held-out "
            f"labelled images a training of {decision['epochs']} epochs gave "
            f"{decision['gain']:+.2f} points over the frozen encoder (standard error "
            f"{decision['error']:.2f})"
        )


def best_length(lengths: Mapping[int, Trial]) -> int:
    """The length of the best trial: by the accuracy, of equal ones by the loss, then the shortest.

    As the baseline ranks its rates.

    Args:
        lengths: trials by their epochs; at least one.
    """
    return min(lengths, key=lambda epochs: (-lengths[epochs].top1, lengths[epochs].loss, epochs))


def decision_of(lengths: Mapping[int, Trial]) -> dict[str, Any]:
    """The comparison of lengths as ``Tuning.decision``; with the frozen one best, of the longest.

    So the gain that decided against fine-tuning is in the result, too.
    """
    epochs = best_length(lengths) or max(lengths)
    moved, still = lengths[epochs], lengths[0]
    gain, error = paired_gain(still.right.to(moved.right.device), moved.right)
    return {
        "lr": moved.lr,
        "epochs": epochs,
        "loss": moved.loss,
        "top1": moved.top1,
        "gain": gain,
        "error": error,
        "lengths": [
            {"epochs": length, "loss": trial.loss, "top1": trial.top1}
            for length, trial in sorted(lengths.items())
        ],
    }
