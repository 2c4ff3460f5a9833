"""Diagnoses of the encoder itself: it does not learn, collapses, or uses few of its dimensions."""

from __future__ import annotations

import math

from engine.config.queue_fill import steps_to_fill
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

FEW = 3.0
"""Effective rank below which all embeddings are near one point or one line: 1.2 to 2.6 were seen
with optim.lr 100, and 4.5 and above in all runs that learned something, once their queue was full.
Not the spread: that of an MLP head begins at 0.09 and rises, as small as with optim.lr 100."""
ONE_POINT, WIDE = 0.02, 16
"""Spread that says so in its place for an embedding of fewer dimensions than ``WIDE``."""
FALLEN = 0.47
"""Share of the largest effective rank so far that is a fall: momentum 0 went from 10.6 to 4.6,
while healthy runs lose up to 0.43 in their first epochs (8.0 to 4.5) and gain from there."""
IN_A_ROW = 3
"""Measures in a row that have to be so."""
FILLINGS = 3
"""Times that the queue must have been filled before. Against the random vectors that it begins with
embeddings draw together, the more the deeper the encoder is (ResNet-18 with an MLP head: a rank of
6.7 went to 2.8 in its first eight steps), and apart again once it holds keys."""
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
    full = FILLINGS * steps_to_fill(evidence.record.config)
    if (
        not rank
        or not spread
        or rank[-1].step < full
        or evidence.epoch(rank[-1].step) < FIRST_EPOCHS
    ):
        return None
    wide = evidence.number("model.dim") >= WIDE
    points, least = (rank, FEW) if wide else (spread, ONE_POINT)
    last = points[-IN_A_ROW:]
    near = len(last) == IN_A_ROW and max(point.value for point in last) < least
    before = max((point.value for point in rank[:-IN_A_ROW]), default=0.0)
    fallen = max(point.value for point in rank[-IN_A_ROW:]) < FALLEN * before
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
