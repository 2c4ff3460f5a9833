"""What the supervised baseline may spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.config.baselines import SupervisedConfig

SUPERVISED_MOMENTUM = 0.9
SELECTION_SHARE = 1 / 3
"""Length of the trainings that choose the learning rate, as a share of the last one's."""


@dataclass(frozen=True)
class Budget:
    """What the baseline may spend.

    Attributes:
        epochs: of the training on the whole labelled part.
        selection_epochs: of each training that chooses the learning rate; 0 where none is made.
        rates: learning rates tried.
        batch_size: images in a step.
        images: images seen by the last training.
        selection_images: images seen by all trainings that choose.
    """

    epochs: int
    selection_epochs: int
    rates: int
    batch_size: int
    images: int
    selection_images: int

    @property
    def chooses(self) -> bool:
        """Whether the learning rate is chosen."""
        return self.selection_epochs > 0

    @property
    def reports(self) -> int:
        """Epochs of all trainings together."""
        return self.epochs + self.rates * self.selection_epochs

    def figures(self) -> dict[str, Any]:
        """The budget as builtin values, for the row of the result."""
        return {
            "epochs": self.epochs,
            "images": self.images,
            "selection_images": self.selection_images,
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
        return (
            f"{self.epochs} epochs ({self.images:,} images seen), batches of {self.batch_size}, "
            f"SGD with momentum {SUPERVISED_MOMENTUM:g} and cosine schedule, random shift and "
            f"flip, BatchNorm statistics set without dropout at the end; {chosen}; "
            "longer training or more tuning may score higher"
        )


def plan_budget(config: SupervisedConfig, labels: int, fit: int, validate: int) -> Budget:
    """The budget for a labelled part: its epochs, or fewer where they would see too many images.

    Args:
        config: ``epochs`` and ``max_images`` of the training on the whole labelled part.
        labels: images in the labelled part.
        fit: images to train on while choosing the learning rate.
        validate: images to choose by; 0: nothing is chosen.
    """
    # Limited in images, since epochs over half of the labels take five times as long as over a
    # tenth.
    epochs = max(1, min(config.epochs, config.max_images // labels))
    rates = len(set(config.lr))
    choosing = rates > 1 and validate > 0
    selection = max(1, round(epochs * SELECTION_SHARE)) if choosing else 0
    return Budget(
        epochs=epochs,
        selection_epochs=selection,
        rates=rates,
        # The same for choosing and for the last training: the best learning rate depends on it.
        batch_size=min(config.batch_size, fit if choosing else labels),
        images=epochs * labels,
        selection_images=rates * selection * fit,
    )
