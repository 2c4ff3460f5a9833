"""Diagnoses of what the encoder is worth, by kNN: it falls, or never rises."""

from __future__ import annotations

from moco_tui.present import fmt
from moco_tui.present.run_evidence import KNN, Evidence, Said
from moco_tui.present.usual_causes import usual_cause

LEAST_EPOCHS, LEAST_SHARE = 5, 0.1
"""Epochs, and share of the schedule, before kNN is held against the untrained encoder's: it falls
in the first steps of healthy runs as well (31.8 to 25.0 % in two epochs of 1,000 images)."""
BEYOND = 3.0
"""Standard errors of a difference that are no noise. Healthy runs of 1,000 images were up to 2.7
below their untrained encoder over 12 epochs; with momentum 0 it were 4.6, with optim.lr 100
5.6."""
IN_A_ROW = 3
"""Last measures that all have to lie below the best one before them."""


def below_untrained(evidence: Evidence) -> Said | None:
    """After some epochs the encoder is worth less than it was before any training."""
    points, before = evidence.points(KNN)[-2:], evidence.untrained
    if before is None or len(points) < 2 or evidence.record.began_from is not None:
        return None
    epochs = evidence.epoch(points[-1].step)
    if epochs < max(LEAST_EPOCHS, LEAST_SHARE * evidence.number("optim.epochs")):
        return None
    if any(before - p.value < BEYOND * evidence.noise(before, p.value) for p in points):
        return None
    now = points[-1].value
    return Said(
        f"After {epochs:.0f} epochs kNN ({now:.1f} %) is below the untrained encoder's "
        f"({before:.1f} %; standard error {evidence.noise(before, now):.1f}).",
        usual_cause(
            evidence,
            _of_augmentations(evidence),
        ),
    )


def _of_augmentations(evidence: Evidence) -> str:
    """Views of an image may have too much in common, or too little."""
    for name in ("augment.crop", "augment.color_jitter"):
        if evidence.settings.get(f"{name}.enabled") is False:
            return f"Usually views of an image are too much alike: {name}.enabled = true."
    return (
        "Usually augmentations destroy what tells the classes apart: a smaller "
        "augment.rotation.degrees, a larger augment.crop.scale_min; or a lower optim.lr."
    )


def past_its_best(evidence: Evidence) -> Said | None:
    """The kNN accuracy has been lower than its best for long, and beyond noise."""
    points = evidence.points(KNN)
    if len(points) <= IN_A_ROW:
        return None
    best = max(points[:-IN_A_ROW], key=lambda point: point.value)
    if any(
        best.value - p.value < BEYOND * evidence.noise(best.value, p.value)
        for p in points[-IN_A_ROW:]
    ):
        return None
    now = points[-1].value
    return Said(
        f"kNN ({now:.1f} %) has been below its best ({best.value:.1f} % at epoch "
        f"{evidence.epoch(best.step):.0f}) for its last {IN_A_ROW} measures "
        f"(standard error {evidence.noise(best.value, now):.1f}).",
        usual_cause(
            evidence,
            "The encoder overfits the contrastive task, or its steps undo what it had learned: "
            "fewer optim.epochs, a lower optim.lr.",
        )
        + f" A probe can take {fmt.clean(evidence.record.id)}@best.",
    )
