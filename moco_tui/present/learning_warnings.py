"""Warns of a pretraining that does not learn, by its loss alone."""

from __future__ import annotations

import math

from engine.runs import MetricLog, Record
from moco_tui.present import fmt

FIRST_EPOCHS = 5
"""Epochs before anything is said: the loss may rise for three of them before it falls."""
LAST_EPOCHS = 3
"""So many epochs in a row have to be at chance."""
AT_CHANCE = 0.965
"""Share of the chance level from which a loss says nothing: an encoder that is never updated was
seen at 0.969 (16.13 of 16.64), one that learns below 0.8 after two epochs."""


def not_learning(log: MetricLog, record: Record) -> str:
    """One sentence when the encoder has collapsed or does not learn; empty otherwise.

    Args:
        log: read as far as it goes.
        record: the run; one without a chance level (``ln(K + 1)``, doubled for the symmetric
            loss) is not judged.
    """
    steps, losses = log.series("train/epoch_loss")
    if not record.chance or not record.steps_per_epoch or len(losses) < LAST_EPOCHS:
        return ""
    epochs = round(steps[-1] / record.steps_per_epoch)
    if epochs < FIRST_EPOCHS:
        return ""
    last = losses[-LAST_EPOCHS:]
    # NaN or infinity is no chance level: the trainer ends such a run by itself.
    if not all(math.isfinite(loss) and loss > AT_CHANCE * record.chance for loss in last):
        return ""
    return (
        f"The encoder has not learned: after {epochs} epochs the loss ({fmt.number(last[-1])})"
        f" is at chance ({fmt.number(record.chance)}). Weaker augmentations or a lower optim.lr may"
        " help."
    )
