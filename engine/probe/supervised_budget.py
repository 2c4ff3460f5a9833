"""What the supervised baseline may spend."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.config.baselines import SupervisedConfig
from engine.config.heads.finetune import FinetuneConfig
from engine.probe.supervised_convergence import LEAST_HELD_OUT

SUPERVISED_MOMENTUM = 0.9
TRIAL_SHARE = 1 / 4
"""Length of the trainings that choose the learning rate, as a share of the last one's. Another with
the chosen rate is twice as long: see ``engine.probe.supervised_convergence``."""


@dataclass(frozen=True)
class Budget:
    """What the baseline may spend.

    Attributes:
        epochs: of the training on the whole labelled part.
        planned_epochs: what ``epochs`` would be without ``max_images``.
        selection_epochs: of each training that chooses the learning rate; 0 where none is made.
        check_epochs: of the training that shows whether twice the epochs do better; 0 where none
            is made.
        rates: learning rates tried.
        batch_size: images in a step.
        images: images seen by the last training.
        selection_images: images seen by all trainings that choose.
        check_images: images seen by the training that checks.
    """

    epochs: int
    planned_epochs: int
    selection_epochs: int
    check_epochs: int
    rates: int
    batch_size: int
    images: int
    selection_images: int
    check_images: int

    @property
    def chooses(self) -> bool:
        """Whether the learning rate is chosen."""
        return self.rates > 1 and self.tries

    @property
    def tries(self) -> bool:
        """Whether there are trials inside the labelled part."""
        return self.selection_epochs > 0

    @property
    def checks(self) -> bool:
        """Whether it is found out if longer training does better."""
        return self.check_epochs > 0

    @property
    def reports(self) -> int:
        """Epochs of all trainings together."""
        return self.epochs + self.rates * self.selection_epochs + self.check_epochs

    @property
    def all_images(self) -> int:
        """Images seen by all trainings together."""
        return self.images + self.selection_images + self.check_images

    def shortened(self, epochs: int, labels: int) -> Budget:
        """This budget with a last training of so many epochs, which were planned.

        Args:
            epochs: of the last training; 0: none is made.
            labels: images in the labelled part.
        """
        planned = epochs or self.planned_epochs
        return dataclasses.replace(
            self, epochs=epochs, planned_epochs=planned, images=epochs * labels
        )

    def without_training(self) -> Budget:
        """The budget of nothing at all: no trial and no training."""
        return dataclasses.replace(
            self, epochs=0, images=0, rates=0, selection_epochs=0, selection_images=0,
            check_epochs=0, check_images=0,
        )  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """The budget as builtin values, for the row of the result."""
        return {
            "epochs": self.epochs,
            "planned_epochs": self.planned_epochs,
            "images": self.images,
            "selection_images": self.selection_images,
            "check_images": self.check_images,
            "rates": self.rates,
            "batch_size": self.batch_size,
        }

    def text(self, lr: float) -> str:
        """The budget in a sentence.

        Args:
            lr: the learning rate of the last training.
        """
        chosen = (
            f"learning rate chosen from {self.rates} by trainings of {self.selection_epochs} "
            "epochs inside the labelled part"
            if self.chooses
            else f"learning rate not tuned, {lr:g}"
        )
        return f"{self.length_text()}; {chosen}; more tuning may score higher"

    def length_text(self) -> str:
        """How the last training goes, in words."""
        cut = (
            f", cut by supervised.max_images from {self.planned_epochs}"
            if self.epochs < self.planned_epochs
            else ""
        )
        return (
            f"{self.epochs} epochs{cut} ({self.images:,} images seen), batches of "
            f"{self.batch_size}, SGD with momentum {SUPERVISED_MOMENTUM:g} and cosine schedule, "
            "random shift and flip, BatchNorm statistics set without dropout at the end"
        )


def plan_finetuning(
    config: SupervisedConfig, finetune: FinetuneConfig, labels: int, fit: int, validate: int
) -> Budget:
    """The budget of fine-tuning: epochs and batches of ``plan_budget``.

    Trials of a quarter of the length choose the rate, as there; they are made where there is
    something to choose, a rate or the length. A trial of the whole length (``check_epochs``) then
    decides against the frozen encoder, and against the quarter where the length is chosen.

    Args:
        config: that of the supervised baseline; its learning rates do not matter.
        finetune: the learning rates of fine-tuning, and whether the length is chosen.
        labels: images in the labelled part.
        fit: images to train on in the trials.
        validate: images to choose by; 0: nothing is tuned, and there is one training with the
            fixed rate, if there is such a rate.
    """
    rates = len(finetune.rates)
    # One rate more than those of fine-tuning: the frozen encoder, which costs nothing.
    choices = tuple(float(number) for number in range(rates + 1))
    budget = plan_budget(msgspec.structs.replace(config, lr=choices), labels, fit, validate)
    tunes = validate > 0 and rates > 0
    trial = budget.selection_epochs if tunes and (rates > 1 or finetune.choose_length) else 0
    trains = tunes or (rates > 0 and finetune.fixed_lr > 0.0)
    epochs = budget.epochs if trains else 0
    check = epochs if tunes else 0
    return dataclasses.replace(
        budget,
        epochs=epochs,
        images=epochs * labels,
        rates=rates if tunes else int(trains),
        selection_epochs=trial,
        selection_images=rates * trial * fit,
        check_epochs=check,
        check_images=check * fit,
    )


def plan_budget(config: SupervisedConfig, labels: int, fit: int, validate: int) -> Budget:
    """The budget for a labelled part: as many epochs for a large one as for a small one.

    Args:
        config: ``epochs`` of the training on the whole labelled part, and ``max_images``, which
            may cut them where they would be too dear.
        labels: images in the labelled part.
        fit: images to train on in the trials.
        validate: images to choose and to judge by; 0: nothing is chosen or judged.
    """
    epochs = config.epochs
    if config.max_images:
        epochs = max(1, min(epochs, config.max_images // labels))
    rates = len(set(config.lr))
    trial = max(1, round(epochs * TRIAL_SHARE))
    checks = validate >= LEAST_HELD_OUT and 2 * trial <= epochs
    tries = validate > 0 and (rates > 1 or checks)
    selection = trial if tries else 0
    check = 2 * trial if checks else 0
    return Budget(
        epochs=epochs,
        planned_epochs=config.epochs,
        selection_epochs=selection,
        check_epochs=check,
        rates=rates,
        # The same for all trainings: the best learning rate depends on it.
        batch_size=min(config.batch_size, fit if tries else labels),
        images=epochs * labels,
        selection_images=rates * selection * fit,
        check_images=check * fit,
    )
