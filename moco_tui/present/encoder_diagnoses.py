"""Diagnoses of the encoder itself: it does not learn, collapses, or uses few of its dimensions."""

from __future__ import annotations

import math

from moco_tui.present import fmt
from moco_tui.present.run_evidence import Evidence, Said
from moco_tui.present.usual_causes import usual_cause

FIRST_EPOCHS = 5
"""Epochs before anything is said: the loss may rise for three of them before it falls."""
LAST_EPOCHS = 3
"""So many epochs in a row have to be at chance."""
AT_CHANCE = 0.965
"""Share of the chance level from which a loss says nothing: an encoder that is never updated was
seen at 0.969 (16.13 of 16.64), one that learns below 0.8 after two epochs."""

ONE_POINT, FEW = 0.15, 3.0
"""Spread and effective rank below which all embeddings are near one point, or one line. With
optim.lr 100 were seen 0.008 to 0.13, or 1.2 to 2.6; in all runs that learned something 0.16 and 5
and above, their first steps included."""
WIDE = 16
"""Dimensions from which so low a rank says something."""
FALLEN = 0.5
"""Share of the largest effective rank so far that is a fall: momentum 0 went from 10.6 to 4.6,
while healthy runs lose a quarter in their first epochs (14.9 to 11.5) and gain from there."""
IN_A_ROW = 3
"""Measures in a row that have to be so."""
DEAD_SHARE = 0.1
"""Share of the dimensions that have to be dead, at two measures in a row. Healthy runs had none."""


def at_chance(evidence: Evidence) -> Said | None:
    """The loss stays at the level of guessing: ``ln(K + 1)``, doubled for the symmetric loss."""
    record = evidence.record
    steps, losses = evidence.log.series("train/epoch_loss")
    if not record.chance or not record.steps_per_epoch or len(losses) < LAST_EPOCHS:
        return None
    epochs = round(steps[-1] / record.steps_per_epoch)
    last = losses[-LAST_EPOCHS:]
    # NaN or infinity is no chance level: the trainer ends such a run by itself.
    if epochs < FIRST_EPOCHS or not all(
        math.isfinite(loss) and loss > AT_CHANCE * record.chance for loss in last
    ):
        return None
    return Said(
        f"The encoder has not learned: after {epochs} epochs the loss ({fmt.number(last[-1])})"
        f" is at chance ({fmt.number(record.chance)}).",
        usual_cause(evidence, "Weaker augmentations or a lower optim.lr may help."),
    )


def collapse(evidence: Evidence) -> Said | None:
    """All embeddings come near one point, or fall into few of the directions that they had."""
    rank, spread = evidence.points("embedding/rank"), evidence.points("embedding/spread")
    if not rank or not spread:
        return None
    few = FEW if evidence.number("model.dim") >= WIDE else 0.0
    near = len(rank) >= IN_A_ROW and all(
        thin.value < few or narrow.value < ONE_POINT
        for thin, narrow in zip(rank[-IN_A_ROW:], spread[-IN_A_ROW:], strict=False)
    )
    before = max((point.value for point in rank[:-2]), default=0.0)
    fallen = max(point.value for point in rank[-2:]) < FALLEN * before
    if not near and not fallen:
        return None
    was = f", down from {before:.1f}" if fallen else ""
    return Said(
        f"The embedding collapses: spread {spread[-1].value:.3f} (0: one point, 1: even), "
        f"effective rank {rank[-1].value:.1f}{was}.",
        usual_cause(
            evidence,
            "Usually the steps are too large, or keys change too fast: a lower optim.lr, a higher "
            "moco.momentum.",
        ),
    )


def dead_dimensions(evidence: Evidence) -> Said | None:
    """Dimensions of the embedding hardly vary: they tell no images apart."""
    dead, dim = evidence.last("embedding/dead", 2), evidence.number("model.dim")
    if not dead or dim < 1 or min(dead) < max(1.0, DEAD_SHARE * dim):
        return None
    return Said(
        f"{dead[-1]:.0f} of the {dim:.0f} dimensions of the embedding are dead: the same for all "
        "images.",
        usual_cause(
            evidence,
            "Usually the embedding is too wide, or its weights decay: a smaller model.dim, a lower "
            "optim.weight_decay.",
        ),
    )
