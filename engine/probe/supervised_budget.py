"""What the supervised baseline may spend."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.config.baselines import SupervisedConfig
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

    def text(self) -> str:
        """The budget in a sentence."""
        chosen = (
            f"learning rate chosen from {self.rates} by trainings of {self.selection_epochs} "
            "epochs inside the labelled part"
            if self.chooses
            else "learning rate not tuned"
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
    config: SupervisedConfig, rates: int, labels: int, fit: int, validate: int
) -> Budget:
    """The budget of fine-tuning: epochs and batches of ``plan_budget``.

    Where there are several rates, trials of a quarter of the length choose one, as there. Its
    comparison with the frozen encoder then takes a trial of the whole length (``check_epochs``): a
    shorter one would be held against it.

    Args:
        config: that of the supervised baseline; its learning rates do not matter.
        rates: learning rates to try, beside leaving the encoder as it is.
        labels: images in the labelled part.
        fit: images to train on in the trials.
        validate: images to choose by; 0: nothing is trained, since no rate could be told from the
            frozen encoder.
    """
    # One rate more than those of fine-tuning: the frozen encoder, which costs nothing.
    choices = tuple(float(number) for number in range(rates + 1))
    budget = plan_budget(msgspec.structs.replace(config, lr=choices), labels, fit, validate)
    trains = validate > 0 and rates > 0
    trial = budget.selection_epochs if trains and rates > 1 else 0
    epochs = budget.epochs if trains else 0
    return dataclasses.replace(
        budget,
        epochs=epochs,
        images=epochs * labels,
        rates=rates if trains else 0,
        selection_epochs=trial,
        selection_images=rates * trial * fit,
        check_epochs=epochs,
        check_images=epochs * fit,
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
