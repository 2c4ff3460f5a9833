"""Fine-tuning of the whole encoder on the labelled images: the ``finetune`` head of a probe.

The twin of the supervised baseline (``engine.probe.supervised``): the same training, from another
start. The backbone starts as pretrained, with BatchNorm over the whole batch, and the classifier as
the logistic head on the frozen features (Kumar et al., "Fine-Tuning can Distort Pretrained Features
and Underperform Out-of-Distribution", arXiv:2202.10054: linear probing, then fine-tuning), so that
before the first step the net is the frozen probe. The frozen encoder is always among the
choices: the best learning rate moves it only if a trial of the whole length is better on the
held-out images. So fine-tuning loses what the frozen features have by the noise of that comparison
at most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import torch.nn.functional as F
from torch import Tensor

from engine.config.baselines import SupervisedConfig
from engine.config.heads.finetune import FinetuneConfig
from engine.config.heads.logistic import LogisticConfig
from engine.config.schema import ProbeConfig, head_settings
from engine.evaluate.features import Standardiser
from engine.probe.head import EncoderToTrain, FittedHead, HeadData
from engine.probe.logistic import Solution, solve_logistic
from engine.probe.logistic_choice import LogisticFit
from engine.probe.logistic_head import fit_to, log_troubles
from engine.probe.supervised import SupervisedBaseline, Trial, candidate_of
from engine.probe.supervised_budget import Budget, plan_finetuning
from engine.probe.supervised_convergence import paired_gain
from engine.probe.supervised_training import Diverged, Start


def folded(solution: Solution, standardise: Standardiser) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer on raw features, for a head on standardised ones.

    With ``z = W (x - mean) / scale + b`` the layer is ``W / scale`` and ``b - (W / scale) mean``.

    Returns:
        float64 (C, D) and (C,).
    """
    weight = solution.weight.double() / standardise.scale.to(solution.weight.device)
    return weight, solution.bias.double() - weight @ standardise.mean.to(weight.device)


def start_of(encoder: EncoderToTrain, solution: Solution) -> Start:
    """The frozen probe as the first weights of a training."""
    weight, bias = folded(solution, encoder.standardise)
    return Start(encoder.encoder.backbone.state_dict(), weight.cpu(), bias.cpu())


@dataclass(frozen=True)
class Tuning:
    """How the learning rate was chosen.

    Attributes:
        lr: the rate; 0: the encoder was left as it was.
        candidates: for each rate, ascending, 0 (frozen) first: ``lr``, ``loss`` and ``top1``
            (percent) on the held-out images after a short trial, or ``diverged``. Empty when
            nothing could be chosen.
        budget: what was spent.
        reason: why the encoder was left as it was; empty where it was not.
        frozen: the logistic head on the frozen features.
        decision: ``lr``, ``loss`` and ``top1`` of the trial of the whole length, its ``gain`` over
            the frozen encoder in points and the standard ``error`` of that; empty without one.
    """

    lr: float
    candidates: tuple[dict[str, Any], ...]
    budget: Budget
    reason: str
    frozen: LogisticFit
    decision: dict[str, Any]

    @property
    def chosen(self) -> dict[str, Any]:
        """See ``FittedHead.chosen``."""
        return {
            "lr": self.lr,
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
        budget, decision = self.budget, self.decision
        chosen = (
            f" chosen from {budget.rates} by trainings of {budget.selection_epochs} epochs inside "
            "the labelled part"
            if budget.chooses
            else ""
        )
        return (
            f"fine-tuned with BatchNorm over the whole batch and a classifier that starts as the "
            f"logistic head on the frozen features: {budget.length_text()}; learning rate "
            f"{self.lr:g}{chosen}; on the held-out labelled images a training of "
            f"{budget.check_epochs} epochs gave {decision['gain']:+.2f} points over the frozen "
            f"encoder (standard error {decision['error']:.2f})"
        )


@dataclass(frozen=True)
class _Tuned:
    """What both results of fine-tuning say of how its learning rate was chosen."""

    tuning: Tuning

    @property
    def chosen(self) -> dict[str, Any]:
        """See ``Tuning.chosen``."""
        return self.tuning.chosen

    @property
    def protocol(self) -> str:
        """See ``Tuning.protocol``."""
        return self.tuning.protocol


@dataclass(frozen=True)
class LeftFrozen(_Tuned):
    """The frozen probe, as the result of fine-tuning; see ``engine.probe.head.FittedHead``."""

    def predict(self, features: Tensor) -> Tensor:
        """Classes int64 (N,) of standardised features (N, D)."""
        return self.tuning.frozen.predict(features)


@dataclass(frozen=True)
class Finetuned(_Tuned):
    """A fine-tuned encoder with its classifier; see ``engine.probe.head.ImageClassifier``.

    Attributes:
        predict_images: classes int64 (N,) of uint8 images (N, 3, H, W).
    """

    predict_images: Callable[[Tensor], Tensor]


class FinetuneHead:
    """The ``finetune`` head; see ``engine.probe.head.Head``.

    Args:
        config: its settings.
        logistic: of the head that the classifier starts as.
        supervised: epochs, batch and weight decay.
    """

    def __init__(
        self, config: FinetuneConfig, logistic: LogisticConfig, supervised: SupervisedConfig
    ) -> None:
        self.config, self.logistic, self.supervised = config, logistic, supervised

    @classmethod
    def of_probe(cls, config: ProbeConfig) -> Self:
        """The head of a probe, with the sections that its settings refer to."""
        own, logistic = head_settings(config, "finetune"), head_settings(config, "logistic")
        assert isinstance(own, FinetuneConfig)  # the sections have the types of the registry
        assert isinstance(logistic, LogisticConfig)
        return cls(own, logistic, config.supervised)

    def budget(self, fit: int, validate: int) -> Budget:
        """What it may spend on so many images to fit on and to choose by."""
        # With nothing held out all labelled images are in ``fit``.
        rates = len(self.config.rates)
        return plan_finetuning(self.supervised, rates, fit + validate, fit, validate)

    def reports(self, fit: int, validate: int) -> int:
        """The frozen head, and each epoch of all trainings."""
        return 1 + self.budget(fit, validate).reports

    def fit(self, data: HeadData) -> FittedHead | Finetuned:
        """Chooses the learning rate inside the labelled part, then trains on the whole of it.

        Args:
            data: ``encoder`` is copied, never changed; None (of pixels): the head is the logistic
                one. ``report`` receives ``frozen_loss``, the objective of the frozen head, then
                what ``fit_supervised`` reports.

        Raises:
            Interrupted: when the sink asked to stop.
        """
        frozen = fit_to(data, self.logistic)
        log_troubles(frozen, self.logistic.tolerance, data.sink)
        data.report({"frozen_loss": frozen.solution.objective})
        budget = self.budget(len(data.fit), len(data.validate))
        if data.encoder is None:
            reason = "it has no encoder to train"
        elif not self.config.rates:
            reason = "finetune.lr holds no rate above 0"
        elif not budget.checks:
            reason = "a class has one label, and nothing can be held out to choose by"
        else:
            return _Finetuning(self, data, data.encoder, frozen, budget).fit()
        data.sink.log(f"not fine-tuned: {reason}")
        none = plan_finetuning(self.supervised, 0, len(data.targets), len(data.fit), 0)
        return LeftFrozen(Tuning(0.0, (), none, reason, frozen, {}))


class _Finetuning:
    """Fine-tuning where something can be chosen.

    Args:
        head: the settings.
        data: the labelled part.
        encoder: what to train.
        frozen: the head on the frozen features.
        budget: what may be spent.
    """

    def __init__(
        self,
        head: FinetuneHead,
        data: HeadData,
        encoder: EncoderToTrain,
        frozen: LogisticFit,
        budget: Budget,
    ) -> None:
        self.data, self.frozen, self.budget = data, frozen, budget
        # The trials start from a head that has not seen the held-out images.
        fit = data.fit.to(data.features.device)
        self.of_fit = solve_logistic(
            data.features[fit],
            data.targets[fit],
            data.classes,
            frozen.l2,
            max_iter=head.logistic.max_iter,
            tolerance=head.logistic.tolerance,
            start=frozen.solution,
            sink=data.sink,
        )
        self.training = SupervisedBaseline(
            encoder.images.to(encoder.device),
            encoder.model,
            msgspec.structs.replace(head.supervised, lr=head.config.rates),
            budget,
            encoder.seed,
            data.sink,
            data.report,
            name="fine-tuning",
            starts=(
                start_of(encoder, self.of_fit),
                start_of(encoder, frozen.solution),
            ),
        )

    def fit(self) -> FittedHead | Finetuned:
        """See ``FinetuneHead.fit``."""
        still = self._frozen_trial()
        rates = self.training.rates if self.budget.tries else []
        trials = {lr: self.training.try_rate(lr) for lr in rates}
        candidates = [candidate_of(lr, trial) for lr, trial in trials.items()]
        tuning = Tuning(
            0.0,
            ({"lr": 0.0, "loss": still.loss, "top1": still.top1}, *candidates),
            self.budget,
            "",
            self.frozen,
            {},
        )
        # A rate may survive the short training and diverge in the longer one: then the next best.
        diverged = False
        for lr in self.training.ranking(trials):
            try:
                moved = self.training.whole_trial(lr, again=diverged)
                tuning = dataclasses.replace(tuning, decision=_decision(moved, still))
                if not _is_better(moved, still):
                    return self._left_frozen(
                        tuning,
                        f"on the held-out images the learning rate {lr:g} is not better than the "
                        "frozen encoder",
                    )
                net = self.training.train_on_everything(lr, again=diverged)
            except Diverged:
                self.training.log_divergence(lr)
                diverged = True
            else:
                return Finetuned(dataclasses.replace(tuning, lr=lr), self.training.predictor(net))
        return self._left_frozen(tuning, "it diverged with every learning rate")

    def _left_frozen(self, tuning: Tuning, reason: str) -> LeftFrozen:
        self.data.sink.log(f"not fine-tuned: {reason}")
        unspent = dataclasses.replace(self.budget, epochs=0, images=0)
        return LeftFrozen(dataclasses.replace(tuning, budget=unspent, reason=reason))

    def _frozen_trial(self) -> Trial:
        """The choice of leaving the encoder as it is, on the held-out images."""
        held = self.data.validate.to(self.data.features.device)
        scores = self.of_fit.logits(self.data.features[held])
        truth = self.data.targets[held]
        return Trial(0.0, float(F.cross_entropy(scores, truth)), scores.argmax(1) == truth)


def _decision(moved: Trial, still: Trial) -> dict[str, Any]:
    """The comparison that decides, as ``Tuning.decision``."""
    gain, error = paired_gain(still.right.to(moved.right.device), moved.right)
    return {"lr": moved.lr, "loss": moved.loss, "top1": moved.top1, "gain": gain, "error": error}


def _is_better(moved: Trial, still: Trial) -> bool:
    """By the accuracy, of equal ones by the loss: as the baseline ranks its rates."""
    return (moved.top1, -moved.loss) > (still.top1, -still.loss)
