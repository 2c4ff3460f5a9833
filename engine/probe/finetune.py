"""Fine-tuning of the whole encoder on the labelled images: the ``finetune`` head of a probe.

The twin of the supervised baseline (``engine.probe.supervised``): the same training, from another
start. The backbone starts as pretrained, with BatchNorm over the whole batch, and the classifier as
the logistic head on the frozen features (Kumar et al., "Fine-Tuning can Distort Pretrained Features
and Underperform Out-of-Distribution", arXiv:2202.10054: linear probing, then fine-tuning), so that
before the first step the net is the frozen probe. Backbone and classifier have learning rates of
their own; that of the backbone is chosen, the lower ones among the choices.

Rate and length are chosen on held-out labelled images. A trial of a quarter of the length for each
rate finds the best rate; one of the whole length with it, the quarter that it won and the frozen
encoder (the length 0) are then the choices. Each trial has a cosine schedule of its own, so each is
what a training of its length gives. More lengths would need more trainings. The frozen encoder is
always among the choices, so fine-tuning loses what the frozen features have by the noise of that
comparison at most. Where nothing is held out, a low fixed rate is taken for the whole length.
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
from engine.probe.finetune_choice import Tuning, best_length, decision_of
from engine.probe.head import EncoderToTrain, FittedHead, HeadData
from engine.probe.logistic import Solution, solve_logistic
from engine.probe.logistic_choice import LogisticFit
from engine.probe.logistic_head import fit_to, log_troubles
from engine.probe.supervised import SupervisedBaseline, Trial, candidate_of
from engine.probe.supervised_budget import Budget, plan_finetuning
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
class _Tuned:
    """What both results of fine-tuning say of how its learning rate and length were chosen."""

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
        return plan_finetuning(self.supervised, self.config, fit + validate, fit, validate)

    def reports(self, fit: int, validate: int) -> int:
        """The frozen head, and each epoch of all trainings."""
        return 1 + self.budget(fit, validate).reports

    def fit(self, data: HeadData) -> FittedHead | Finetuned:
        """Chooses rate and length inside the labelled part, then trains on the whole of it.

        Where nothing is held out it trains on it with the fixed rate.

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
        elif not budget.epochs:
            reason = "finetune.fixed_lr is 0, and nothing is held out to choose by"
        else:
            training = _Finetuning(self, data, data.encoder, frozen, budget)
            return training.fit() if budget.checks else training.fit_untuned()
        data.sink.log(f"not fine-tuned: {reason}")
        none = budget.without_training()
        return LeftFrozen(Tuning(0.0, None, (), none, reason, frozen, {}, data.untuned))


class _Finetuning:
    """The trainings of an encoder.

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
        self.head, self.data, self.frozen, self.budget = head, data, frozen, budget
        head_lr = head.config.head_lr
        self.head_lr = head_lr if head_lr > 0.0 else None
        # The trials start from a head that has not seen the held-out images.
        self.of_fit = self._fitted_to_part() if budget.checks else frozen.solution
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
            head_lr=self.head_lr,
        )

    def _fitted_to_part(self) -> Solution:
        """The frozen head, fitted to the images that the trials train on."""
        data, logistic = self.data, self.head.logistic
        fit = data.fit.to(data.features.device)
        return solve_logistic(
            data.features[fit],
            data.targets[fit],
            data.classes,
            self.frozen.l2,
            max_iter=logistic.max_iter,
            tolerance=logistic.tolerance,
            start=self.frozen.solution,
            sink=data.sink,
        )

    def fit_untuned(self) -> FittedHead | Finetuned:
        """One training with the fixed rate, where nothing is held out to choose by."""
        lr = self.head.config.fixed_lr
        tuning = Tuning(0.0, self.head_lr, (), self.budget, "", self.frozen, {}, self.data.untuned)
        self.data.sink.log(f"nothing to choose by: the learning rate {lr:g} is taken as it is")
        try:
            net = self.training.train_on_everything(lr)
        except Diverged:
            self.training.log_divergence(lr)
            return self._left_frozen(tuning, f"it diverged with the fixed learning rate {lr:g}")
        return Finetuned(dataclasses.replace(tuning, lr=lr), self.training.predictor(net))

    def fit(self) -> FittedHead | Finetuned:
        """See ``FinetuneHead.fit``."""
        still = self._frozen_trial()
        rates = self.training.rates if self.budget.tries else []
        trials = {lr: self.training.try_rate(lr) for lr in rates}
        candidates = [candidate_of(lr, trial) for lr, trial in trials.items()]
        tuning = Tuning(
            0.0,
            self.head_lr,
            ({"lr": 0.0, "loss": still.loss, "top1": still.top1}, *candidates),
            self.budget,
            "",
            self.frozen,
            {},
        )
        # A rate may survive the short training and diverge in the longer one: then the next best.
        diverged = False
        for lr in self.training.ranking(trials):
            lengths = self._lengths(lr, still, trials.get(lr), again=diverged)
            epochs = best_length(lengths)
            diverged = diverged or self.budget.epochs not in lengths
            if not epochs and self.budget.epochs not in lengths:
                continue
            tuning = dataclasses.replace(tuning, decision=decision_of(lengths))
            if not epochs:
                return self._left_frozen(
                    tuning,
                    f"on the held-out images the learning rate {lr:g} is not better than the "
                    "frozen encoder",
                )
            try:
                net = self.training.train_on_everything(lr, epochs=epochs, again=diverged)
            except Diverged:
                self.training.log_divergence(lr)
                diverged = True
            else:
                budget = self.budget
                if epochs < budget.epochs:
                    budget = budget.shortened(epochs, len(self.data.targets))
                tuning = dataclasses.replace(tuning, lr=lr, budget=budget)
                return Finetuned(tuning, self.training.predictor(net))
        return self._left_frozen(tuning, "it diverged with every learning rate")

    def _lengths(
        self, lr: float, still: Trial, short: Trial | None, *, again: bool
    ) -> dict[int, Trial]:
        """The lengths to choose from, in epochs, ascending, each as its trial.

        Args:
            lr: the best rate.
            still: the frozen encoder, of length 0.
            short: its short trial, where one was made.
            again: another rate has diverged before.
        """
        lengths = {0: still}
        if short is not None and self.head.config.choose_length:
            lengths[self.budget.selection_epochs] = short
        try:
            # In place of the short one where both have a single epoch.
            lengths[self.budget.epochs] = self.training.whole_trial(lr, again=again)
        except Diverged:
            self.training.log_divergence(lr)
        return lengths

    def _left_frozen(self, tuning: Tuning, reason: str) -> LeftFrozen:
        self.data.sink.log(f"not fine-tuned: {reason}")
        unspent = self.budget.shortened(0, len(self.data.targets))
        return LeftFrozen(dataclasses.replace(tuning, budget=unspent, reason=reason))

    def _frozen_trial(self) -> Trial:
        """The choice of leaving the encoder as it is, on the held-out images."""
        held = self.data.validate.to(self.data.features.device)
        scores = self.of_fit.logits(self.data.features[held])
        truth = self.data.targets[held]
        return Trial(0.0, float(F.cross_entropy(scores, truth)), scores.argmax(1) == truth)
