"""The supervised baseline: the same backbone trained from scratch with the same labels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config.baselines import SupervisedConfig
from engine.config.schema import ModelConfig
from engine.errors import TrainingError
from engine.probe.supervised_budget import Budget, plan_budget
from engine.probe.supervised_convergence import Convergence, compare_lengths
from engine.probe.supervised_training import (
    Diverged,
    Start,
    SupervisedData,
    SupervisedTraining,
    calibrate_without_dropout,
    class_scores,
)
from engine.seeds import default_generator, stream_seed
from engine.sink import NullSink, Sink

LOOKS = 8
"""How often a trial is judged on the held-out images, evenly over its epochs, its end included."""


@dataclass(frozen=True)
class SupervisedFit:
    """The trained baseline.

    Attributes:
        lr: the learning rate chosen.
        candidates: for each rate, ascending: ``lr``, and ``loss`` and ``top1`` (percent) on the
            validation images after the last epoch, or ``diverged``; empty when nothing could be
            chosen.
        budget: what was spent.
        convergence: whether longer training would do better; None where that was not judged.
        predict: classes int64 (N,) of uint8 images (N, 3, H, W).
        untuned: why nothing was held out and tuned, for the protocol; empty where it was.
    """

    lr: float
    candidates: tuple[dict[str, Any], ...]
    budget: Budget
    convergence: Convergence | None
    predict: Callable[[Tensor], Tensor]
    untuned: str = ""

    @property
    def chosen(self) -> dict[str, Any]:
        """``lr`` and ``candidates``, for the row of the result."""
        return {"lr": self.lr, "candidates": list(self.candidates)}

    @property
    def training(self) -> dict[str, Any]:
        """``budget``, ``convergence`` and ``protocol`` (in words), for the row of the result."""
        verdict = (
            "whether it has converged is not known: too few labels or epochs"
            if self.convergence is None
            else self.convergence.text()
        )
        parts = [
            f"trained from scratch on the same labels: {self.budget.text(self.lr)}",
            *([self.untuned] if self.untuned else []),
            verdict,
        ]
        return {
            "budget": self.budget.figures(),
            "convergence": None if self.convergence is None else self.convergence.figures(),
            "protocol": "; ".join(parts),
        }


@dataclass(frozen=True)
class Trial:
    """A training on ``data.fit``, seen from its end.

    Attributes:
        lr: its learning rate.
        loss: on the validation images.
        right: bool (n,), which validation images it has right.
    """

    lr: float
    loss: float
    right: Tensor

    @property
    def top1(self) -> float:
        """Percent of the validation images."""
        return 100.0 * float(self.right.double().mean())


@dataclass(frozen=True)
class SupervisedBaseline:
    """Chooses a learning rate and trains with it: every training begins with the same weights.

    Attributes:
        data: on the device to train on.
        model: the backbone.
        config: the budget and the learning rates.
        budget: epochs, batch size and images that follow for this data.
        seed: of weights, dropout, order and augmentation.
        sink: asked once a step whether to stop; logs rates that diverge.
        report: see ``fit_supervised``.
        name: what the log calls it.
        starts: first weights of the trials and of the training on everything; None: random ones.
        head_lr: learning rate of the linear layer; None: that of the backbone.
    """

    data: SupervisedData
    model: ModelConfig
    config: SupervisedConfig
    budget: Budget
    seed: int
    sink: Sink = field(default_factory=NullSink)
    report: Callable[[dict[str, float]], None] = lambda _values: None
    name: str = "supervised baseline"
    starts: tuple[Start, Start] | None = None
    head_lr: float | None = None

    @property
    def rates(self) -> list[float]:
        """The learning rates to choose from, ascending."""
        return sorted(set(self.config.lr))

    def fit(self) -> SupervisedFit:
        """See ``fit_supervised``."""
        trials = {lr: self.try_rate(lr) for lr in self.rates} if self.budget.tries else {}
        # A rate may survive the short training and diverge in a longer one: then the next best.
        for place, lr in enumerate(self.ranking(trials)):
            again = place > 0
            try:
                convergence = None
                if self.budget.checks:
                    convergence = self.check_length(trials[lr], again=again)
                net = self.train_on_everything(lr, again=again)
            except Diverged:
                self.log_divergence(lr)
            else:
                candidates = tuple(candidate_of(lr, trial) for lr, trial in trials.items())
                predict = self.predictor(net)
                return SupervisedFit(
                    lr, candidates, self.budget, convergence, predict, self.data.untuned
                )
        tried = ", ".join(f"{lr:g}" for lr in self.rates)
        raise TrainingError(
            f"The supervised baseline diverged with every learning rate ({tried}); lower "
            "supervised.lr, or leave supervised out of baselines."
        )

    def ranking(self, trials: Mapping[float, Trial | None]) -> list[float]:
        """The rates that did not diverge, best first; the middle one where none was tried."""
        if not trials:
            return [self.rates[len(self.rates) // 2]]
        finite = [trial for trial in trials.values() if trial is not None]
        return [trial.lr for trial in sorted(finite, key=lambda trial: (-trial.top1, trial.loss))]

    def try_rate(self, lr: float) -> Trial | None:
        """A short training with one rate; None when it diverges."""
        self.sink.log(f"{self.name}: trying the learning rate {lr:g}")
        try:
            epochs = self.budget.selection_epochs
            return self._trial(
                lr, epochs, _of_rate(lr, "selection_loss"), _of_rate(lr, "validation_top1")
            )
        except Diverged:
            self.log_divergence(lr)
            return None

    def check_length(self, short: Trial | None, *, again: bool = False) -> Convergence:
        """Compares a trial with one of twice the length.

        Args:
            short: the trial.
            again: as of ``train_on_everything``.

        Raises:
            Diverged: when the longer one does.
        """
        assert short is not None  # ``ranking`` leaves out those that diverged
        epochs = (self.budget.selection_epochs, self.budget.check_epochs)
        self.sink.log(f"{self.name}: is it better with {epochs[1]} epochs than {epochs[0]}?")
        names = [
            _of_rate(short.lr, name) if again else name for name in ("check_loss", "check_top1")
        ]
        long = self._trial(short.lr, epochs[1], *names)
        counts = torch.bincount(self.data.targets[self.data.validate.to(self.data.targets.device)])
        majority = 100.0 * int(counts.max()) / len(self.data.validate)
        convergence = compare_lengths(epochs, short.right, long.right, majority)
        self.sink.log(f"{self.name}: {convergence.text()}")
        return convergence

    def whole_trial(self, lr: float, *, again: bool = False) -> Trial:
        """A trial as long as the training on everything.

        Args:
            lr: learning rate at the start.
            again: as of ``train_on_everything``.

        Raises:
            Diverged: when it does.
        """
        names = [_of_rate(lr, name) if again else name for name in ("check_loss", "check_top1")]
        return self._trial(lr, self.budget.epochs, *names)

    def _trial(self, lr: float, epochs: int, loss_name: str, top1_name: str) -> Trial:
        """A training on ``data.fit``; reports its loss after each epoch, its accuracy after some.

        The last epoch alone counts. The others are seen at ``LOOKS`` places for the curve: in each
        epoch that would be a fifth of a trial's time, and it changes nothing of the training.
        """
        looks = {math.ceil(epochs * (place + 1) / LOOKS) for place in range(LOOKS)}
        # Seeded anew each time: all begin with the same weights.
        with self._seeded():
            training = self._training(self.data.fit, lr, epochs, last=False)
            for epoch, loss in enumerate(training.train(), 1):
                values = {loss_name: loss}
                if epoch in looks:  # the last one is
                    trial = self.validate(training.net, lr)
                    values[top1_name] = trial.top1
                self.report(values)
        return trial

    def validate(self, net: nn.Module, lr: float) -> Trial:
        """How a net does on the validation images.

        Raises:
            Diverged: when the loss is not finite.
        """
        # As the final net is used; on data.fit, which the validation images have no part in.
        calibrate_without_dropout(net, self.data.fit, self.data, self.sink)
        held = self.data.validate.to(self.data.images.device)
        scores = class_scores(net, self.data.images[held], self.data, self.sink)
        truth = self.data.targets[held]
        loss = float(F.cross_entropy(scores, truth))
        if not math.isfinite(loss):
            raise Diverged
        return Trial(lr, loss, scores.argmax(1) == truth)

    def train_on_everything(
        self, lr: float, *, epochs: int | None = None, again: bool = False
    ) -> nn.Module:
        """The net of the whole labelled part, with the statistics it is used with.

        Args:
            lr: learning rate at the start.
            epochs: how long; None: those of the budget.
            again: another rate has diverged; the curve of its loss must not go on in this one.

        Raises:
            Diverged: when the loss is not finite.
        """
        everything = torch.arange(len(self.data.images))
        with self._seeded():
            length = self.budget.epochs if epochs is None else epochs
            training = self._training(everything, lr, length, last=True)
            for loss in training.train():
                self.report({_of_rate(lr, "loss") if again else "loss": loss})
        calibrate_without_dropout(training.net, everything, self.data, self.sink)
        return training.net

    def _seeded(self) -> contextlib.AbstractContextManager[None]:
        return default_generator(stream_seed(self.seed, "default"), self.data.images.device)

    def _training(self, rows: Tensor, lr: float, epochs: int, *, last: bool) -> SupervisedTraining:
        return SupervisedTraining(
            self.data,
            self.model,
            self.config,
            rows=rows,
            lr=lr,
            epochs=epochs,
            batch_size=self.budget.batch_size,
            seed=self.seed,
            sink=self.sink,
            start=None if self.starts is None else self.starts[last],
            head_lr=self.head_lr,
        )

    def predictor(self, net: nn.Module) -> Callable[[Tensor], Tensor]:
        """Classes int64 (N,) of uint8 images (N, 3, H, W), by a net."""
        return lambda images: class_scores(net, images, self.data, self.sink).argmax(dim=1)

    def log_divergence(self, lr: float) -> None:
        """Says in the log that a rate diverged."""
        self.sink.log(f"{self.name}: it diverged with the learning rate {lr:g}")


def _of_rate(lr: float, name: str) -> str:
    """The name of a value of one of several trainings: each has a curve of its own."""
    return f"lr_{lr:g}/{name}"


def candidate_of(lr: float, trial: Trial | None) -> dict[str, Any]:
    """A trial as an entry of ``SupervisedFit.candidates``."""
    if trial is None:
        return {"lr": lr, "diverged": True}
    return {"lr": lr, "loss": trial.loss, "top1": trial.top1}


def fit_supervised(
    data: SupervisedData,
    model: ModelConfig,
    config: SupervisedConfig,
    *,
    device: torch.device,
    seed: int,
    sink: Sink | None = None,
    report: Callable[[dict[str, float]], None] = lambda _values: None,
) -> SupervisedFit:
    """Chooses the learning rate inside the labelled part, then trains on the whole of it.

    The rate with the highest validation accuracy after the last epoch of a training of a quarter
    of the length wins (of equal ones that of the lower loss). One more training with it shows
    whether twice as many epochs do better. Torch's default generators are seeded for every training
    and left as they were.

    Args:
        data: the labelled part.
        model: the backbone; BatchNorm normalises over the whole batch here.
        config: the budget and the learning rates.
        device: where to train.
        seed: of weights, dropout, order and augmentation.
        sink: asked once a step whether to stop; logs rates that diverge.
        report: receives, after each epoch, ``lr_0.1/selection_loss`` and ``lr_0.1/validation_top1``
            while choosing (with the rate that is tried), ``check_loss`` and ``check_top1``
            (percent, on the validation images) of the longer trial, ``loss`` of the training whose
            net is returned; the accuracies after ``LOOKS`` of the epochs only. What
            comes after a rate that diverged has its rate in its names, too.

    Raises:
        TrainingError: when the loss becomes infinite or NaN with every rate.
        Interrupted: when the sink asked to stop.
    """
    return SupervisedBaseline(
        data.to(device),
        model,
        config,
        plan_budget(config, len(data.images), len(data.fit), len(data.validate)),
        seed,
        NullSink() if sink is None else sink,
        report,
    ).fit()
